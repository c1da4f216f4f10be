"""Runs of the real flow on the tiny models, and what the Prefect server then knows of them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
import tiny_models
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact, State, TaskRun

from flows.storyboard import storyboard
from models.board.report import FrameReport, Report
from models.language.writer import _scenes_key
from models.board.store import Store
from models.records import SceneBreakdown, Story
from models.settings import Keys, StoryboardOptions

STORY = "Aldar Köse tricks a greedy merchant in the bazaar"
DEADLINE = 60.0
"""Seconds after which something that is waited for does not come."""

tiny_world = tiny_models.tiny_world

T = TypeVar("T")


def until(what: Callable[[], T]) -> T:
    """The first true value of `what`; the server writes down some things only a moment later."""
    end = time.monotonic() + DEADLINE
    while not (value := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return value


@dataclass(frozen=True)
class Ran:
    """A run that has ended."""

    state: State[Any]

    @property
    def run_id(self) -> UUID:
        assert self.state.state_details.flow_run_id is not None
        return self.state.state_details.flow_run_id

    @property
    def board(self) -> Path:
        return Path(self.state.result())

    @property
    def report(self) -> Report:
        return Report.model_validate_json((self.board / "report.json").read_bytes())

    @property
    def painted(self) -> list[int]:
        """How many pictures were painted for each frame."""
        return [frame.painted for frame in self.report.frames]

    @property
    def pictures(self) -> list[bytes]:
        """The frames' files."""
        return [(self.board / frame.file).read_bytes() for frame in self.report.frames]

    def task_runs(self) -> dict[str, TaskRun]:
        """Task runs by name, once the server has all of them in a final state."""
        expected = len(self.report.frames) + 7

        def ended() -> dict[str, TaskRun]:
            with get_client(sync_client=True) as client:
                runs = client.read_task_runs(flow_run_filter=this_run(self.run_id))
            final = all(run.state is not None and run.state.is_final() for run in runs)
            return {run.name: run for run in runs} if final and len(runs) >= expected else {}

        return until(ended)

    def artifacts(self) -> dict[str | None, Artifact]:
        with get_client(sync_client=True) as client:
            found = client.read_artifacts(artifact_filter=ArtifactFilter(), flow_run_filter=this_run(self.run_id))
        return {artifact.key: artifact for artifact in found}


def this_run(run_id: UUID) -> FlowRunFilter:
    return FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))


@dataclass(frozen=True)
class Stage:
    """Where the flow is run: the tiny profile, and an output directory."""

    output: Path

    def options(self, **changes: Any) -> StoryboardOptions:
        plain = {"profile": "tiny", "frames": 3, "steps": 2, "attempts": 2, "device": "cpu", "batch_size": 1}
        return StoryboardOptions.model_validate({**plain, "output_dir": str(self.output), **changes})

    def run(self, story: str = STORY, **changes: Any) -> Ran:
        """Run the flow; whether it succeeded is for the caller to see."""
        return Ran(storyboard(story, self.options(**changes), return_state=True))

    @property
    def store(self) -> Store:
        return Store.within(self.output)

    def entries(self) -> list[Path]:
        """Entries of painted pictures in the store."""
        return sorted((self.output / ".store" / "pictures").rglob("*.json"))

    def put_scenes(self, breakdown: SceneBreakdown, **changes: Any) -> None:
        """Let the store hold these scenes for the story, as if the writer had written them."""
        options = self.options(frames=len(breakdown.scenes), **changes)
        self.store.put("scenes", _scenes_key(breakdown.story, options, Keys()), breakdown)


@pytest.fixture
def stage(tiny_world: object, prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A place to run in, away from anybody's .env."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield Stage(tmp_path / "outputs")
