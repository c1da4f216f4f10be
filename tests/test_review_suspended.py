"""A reviewed run of a deployment: it ends while it waits, and what it still knows when it starts again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from answers import Question
from flow_runs import STORY, Ran, Stage, scenes_of
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import Failed, Scheduled
from test_review import client, with_second_scene, written

from flows.storyboard import storyboard
from models.board.markdown import escape
from models.diffusion import batcher
from models.diffusion.requests import PainterSetup, PaintRequest

__all__ = ["client", "written"]


class Deployed:
    """A run of a deployment, started as a worker starts it, once for each of its lives."""

    def __init__(self, client: SyncPrefectClient, stage: Stage, **options: Any) -> None:
        self.client, self.stage = client, stage
        flow = client.create_flow(storyboard)
        deployment = client.create_deployment(flow, "reviewed", entrypoint="flows.storyboard:storyboard")
        self.parameters = {"story": STORY, "options": stage.options(**options).model_dump(exclude_unset=True)}
        self.id: UUID = client.create_flow_run_from_deployment(deployment, parameters=self.parameters).id

    def start(self) -> Ran:
        """Run until it ends or is suspended."""
        run = self.client.read_flow_run(self.id)
        state: Any = run_flow(storyboard, flow_run=run, parameters=self.parameters, return_type="state")
        return Ran(state, self.stage.output)

    def ask(self) -> Question:
        """Run until it is suspended."""
        with pytest.raises(Pause):
            self.start()
        run = self.client.read_flow_run(self.id)
        assert run.state_name == "Suspended"
        return Question(run)

    def start_again(self, after: State[Any] | None = None) -> None:
        """What the dashboard's Retry does to a run that has failed, or that comes to this state now."""
        for state in filter(None, (after, Scheduled(name="AwaitingRetry"))):
            self.client.set_flow_run_state(self.id, state, force=True)


def test_a_deployments_run_ends_while_it_waits_and_goes_on_in_its_directory(
    stage: Stage, client: SyncPrefectClient, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.run()
    written.clear()
    seeds, paint = list[int](), batcher.paint_together

    def noted(setup: PainterSetup, request: PaintRequest, *rest: Any) -> Any:
        seeds.append(request.seed)
        return paint(setup, request, *rest)

    monkeypatch.setattr(batcher, "paint_together", noted)
    run = Deployed(client, stage, review="all", refresh=True)
    scenes = run.ask()
    assert (written, len(stage.boards())) == ([STORY], 2)
    scenes.answer(client, **with_second_scene(cast=["the dragon"])(scenes))
    again = run.ask()
    assert "the dragon" in again.page
    again.answer(client, **with_second_scene(cast=[], caption="He sleeps.")(again))
    board = run.ask()
    board.answer(client, redo=[{"frame": 3, "seed": 777}])
    last = run.ask()
    last.answer(client)
    ran = run.start()
    assert (written, len(stage.boards())) == ([STORY], 2)
    assert sorted(seeds) == [42, 777, 2042, 3042]
    assert ran.board == stage.boards()[1]
    assert scenes_of(ran).scenes[1].caption == ran.report.frames[1].scene.caption == "He sleeps."
    assert [frame.seed for frame in ran.report.frames] == [42, 2042, 777]
    assert ran.painted == [1, 1, 1]
    assert ran.report.started < again.state.timestamp


def test_after_a_crash_the_approved_scenes_are_painted_and_nobody_is_asked_again(
    stage: Stage, client: SyncPrefectClient, written: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Deployed(client, stage, review="all")
    run.ask()
    run.start_again(Failed(message="the worker is gone"))
    question = run.ask()
    question.answer(client, **with_second_scene(caption="He sleeps.")(question))
    board = run.ask()
    board.answer(client, redo=[{"frame": 3, "seed": 777}])
    with monkeypatch.context() as broken:
        broken.setattr(batcher, "paint_together", lambda *_: 1 / 0)
        assert run.start().state.is_failed()
    run.start_again()
    last = run.ask()
    assert "777" in last.page
    last.answer(client)
    ran = run.start()
    assert (written, len(stage.boards())) == ([STORY], 1)
    assert scenes_of(ran).scenes[1].caption == "He sleeps."
    assert [frame.seed for frame in ran.report.frames] == [42, 2042, 777]


def test_an_answer_without_values_means_the_scenes_that_were_shown(stage: Stage, client: SyncPrefectClient) -> None:
    run, other = (Deployed(client, stage, review="scenes", frames=2) for _ in range(2))
    shown, edited = run.ask(), other.ask()
    edited.answer(client, **with_second_scene(caption="He sleeps.")(edited))
    assert scenes_of(other.start()).scenes[1].caption == "He sleeps."
    shown.answer(client)
    caption = scenes_of(run.start()).scenes[1].caption
    assert caption != "He sleeps."
    assert f"### 2. {escape(caption)}" in shown.page
