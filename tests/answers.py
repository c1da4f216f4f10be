"""Somebody who answers what a waiting run asks."""

from __future__ import annotations

import contextvars
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flow_runs import Ran
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.input.actions import read_flow_run_input
from waiting import until

Answer = dict[str, Any]
PAUSED = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PAUSED"]}}})


class Question:
    """What a waiting run shows people."""

    def __init__(self, run: FlowRun) -> None:
        assert run.state is not None
        assert run.state.state_details.run_input_keyset is not None
        self.run, self.state = run, run.state
        keys = run.state.state_details.run_input_keyset
        self.key = keys["schema"]
        self.schema: dict[str, Any] = until(lambda: self._read(keys["schema"]))
        self.page: str = until(lambda: self._read(keys["description"]))

    def _read(self, key: str) -> Any:
        return read_flow_run_input(key, flow_run_id=self.run.id)

    def shown(self, field: str) -> Any:
        """The value with which a field is filled."""
        return self.schema["properties"][field]["default"]

    def answer(self, client: SyncPrefectClient, **answer: Any) -> Any:
        return client.resume_flow_run(self.run.id, run_input=answer)


Replying = Callable[[Question], Answer | None]
"""What somebody answers; None where another has."""


def waiting(client: SyncPrefectClient, besides: str = "") -> Question:
    """The question of the only run that waits, other than the one with this key."""

    def found() -> list[Question]:
        for run in client.read_flow_runs(flow_run_filter=PAUSED):
            assert run.state is not None
            keys = run.state.state_details.run_input_keyset
            if keys and keys["schema"] != besides:
                return [Question(run)]
        return []

    return until(found)[0]


def converse(flow: Callable[[], State[Any]], output: Path, client: SyncPrefectClient, *answers: Replying) -> Ran:
    """Run a flow that makes a board in `output`, and give its questions these answers; None where one has answered."""
    states: list[State[Any]] = []
    context = contextvars.copy_context()
    run = threading.Thread(daemon=True, target=context.run, args=(lambda: states.append(flow()),))
    run.start()
    key = ""
    for answer in answers:
        question = waiting(client, besides=key)
        assert question.state.name == "Paused"
        assert re.fullmatch("waits for you: look at the (scenes|frames), then Resume", question.state.message or "")
        given = answer(question)
        assert given is None or question.answer(client, **given).status == "ACCEPT"
        key = question.key
    run.join(timeout=60)
    assert states, "it waits for another answer"
    return Ran(states[0], output)
