"""A book of stories whose storyboards are runs of a deployment, on a real server; a thread here is the worker."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from book_runs import TALES, error_of, states, tell
from flow_runs import Ran, Stage
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import run_deployment
from prefect.flow_engine import run_flow

from flows.storyboard import storyboard
from flows.storybook import storybook
from models.book.index import Chapter
from models.settings import StoryboardOptions
from tasks import pool


class Worker:
    """Takes scheduled runs of its flows from the server and runs them here, as a pool's worker would."""

    def __init__(self, *own: Flow[..., Any]) -> None:
        self.own, self.over, self.most = own, threading.Event(), 0
        self.context = contextvars.copy_context()
        self.thread = threading.Thread(target=self.context.run, args=(self.work,))

    def work(self) -> None:
        before = 0
        while not self.over.wait(0.5):
            runs = scheduled()
            before, more = len(runs), len(runs) > before
            if more:  # others may be on their way
                continue
            self.most = max(self.most, len(runs))
            copies = [(contextvars.copy_context(), run) for run in runs]
            threads = [threading.Thread(target=copy.run, args=(self.run, run)) for copy, run in copies]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def run(self, run: FlowRun) -> None:
        with get_client(sync_client=True) as client:
            name = client.read_flow(run.flow_id).name
        (own,) = (flow for flow in self.own if flow.name == name)
        run_flow(own, flow_run=run, parameters=own.validate_parameters(run.parameters), return_type="state")


def scheduled() -> list[FlowRun]:
    waiting = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=waiting)


def deploy(flow: Flow[..., Any], name: str, parameters: dict[str, Any], work_pool: str | None = None) -> str:
    with get_client(sync_client=True) as client:
        made = client.create_flow(flow)
        client.create_deployment(flow_id=made, name=name, parameters=parameters, work_pool_name=work_pool)
    return f"{flow.name}/{name}"


@pytest.fixture
def worker(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setattr(pool, "PAUSE", 0.1)
    own = Worker(storyboard, storybook)
    own.thread.start()
    yield own
    own.over.set()
    own.thread.join()


def test_on_a_pool_there_are_so_many_at_once_and_the_deployments_options_hold(stage: Stage, worker: Worker) -> None:
    options = stage.options(frames=2).model_dump(mode="json", exclude_unset=True, exclude={"output_dir"})
    deployment = deploy(storyboard, "tiny", {"options": options})
    given = StoryboardOptions(frames=1, output_dir=str(stage.output))
    stories = [*TALES, "а" * 2001]
    state = storybook(stories, options=given, deployment=deployment, at_once=2, return_state=True)
    assert "1 of 4 stories failed" in error_of(Ran(state, stage.output))
    assert states(stage) == ["made", "made", "made", "failed"]
    assert worker.most == 2
    report = json.loads((stage.boards()[0] / "report.json").read_text("utf-8"))
    assert (report["profile"], report["num_frames"], report["options"]["steps"]) == ("tiny", 1, 2)
    storybook(TALES, options=given, deployment=deployment, at_once=2)
    assert states(stage) == ["found"] * 3


def test_what_fails_on_the_pool_is_told_in_its_own_words(stage: Stage, worker: Worker) -> None:
    deployment = deploy(storyboard, "tiny", {})
    ran = tell(stage, TALES[:1], deployment=deployment, lora_path="/no/such/lora")
    assert "LoRA: /no/such/lora: no such file or folder" in error_of(ran)


def test_a_book_that_holds_the_only_slot_says_so(stage: Stage, worker: Worker) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="narrow", type="process", concurrency_limit=1), overwrite=True)
    inner = deploy(storyboard, "narrow", {}, "narrow")
    options = stage.options(frames=1).model_dump(mode="json", exclude_unset=True)
    outer = deploy(storybook, "narrow", {"stories": TALES, "options": options, "deployment": inner}, "narrow")
    run = run_deployment(outer, timeout=60, poll_interval=0.1)
    assert isinstance(run, FlowRun)
    assert run.state is not None
    assert "this run holds the only slot of the work pool 'narrow', which storyboard/narrow needs" in str(
        run.state.message
    )


def test_an_interruption_cancels_the_runs_that_are_at_work(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = deploy(storyboard, "nobody", {})
    chapters = [Chapter(story=tale) for tale in TALES]

    def interrupt(seconds: float) -> None:
        assert len(scheduled()) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(pool.made_on_the_pool(chapters, stage.options(), deployment, 2))
    assert scheduled() == []
