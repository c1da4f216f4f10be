"""Runs of the real flow on the tiny models, and what the Prefect server then knows of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact, FlowRun, State, TaskRun
from waiting import until

from flows.storyboard import storyboard
from models.board.report import Report
from models.language import writer
from models.records import SceneBreakdown
from models.secrets.keys import Keys
from models.settings import StoryboardOptions
from models.storage.content_store import Store

STORY = "Aldar Köse tricks a greedy merchant in the bazaar"


@dataclass(frozen=True)
class Ran:
    """A run that has ended."""

    state: State[Any]
    output: Path

    @property
    def run_id(self) -> UUID:
        """The flow run's id."""
        assert self.state.state_details.flow_run_id is not None
        return self.state.state_details.flow_run_id

    @property
    def board(self) -> Path:
        """Its directory; raises what the flow raised."""
        return Path(self.state.result())

    @property
    def report(self) -> Report:
        """report.json, which must fit the record."""
        return Report.model_validate_json((self.board / "report.json").read_bytes())

    @property
    def painted(self) -> list[int]:
        """How many pictures the run painted for each frame."""
        return [frame.painted for frame in self.report.frames]

    @property
    def pictures(self) -> list[bytes]:
        """The frames' files."""
        return [(self.board / frame.file).read_bytes() for frame in self.report.frames]

    @property
    def pixels(self) -> NDArray[np.int16]:
        """The frames, [frames, size, size, 3]."""
        files = [self.board / frame.file for frame in self.report.frames]
        return np.stack([np.asarray(Image.open(file), dtype=np.int16) for file in files])

    def flow_run(self) -> FlowRun:
        """What the server knows of the run."""
        with get_client(sync_client=True) as client:
            return client.read_flow_run(self.run_id)

    def task_runs(self, *named: str) -> dict[str, TaskRun]:
        """Task runs by name without what Prefect appends to it, once the server has these names in a final state."""

        def ended() -> dict[str, TaskRun]:
            runs = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[self.run_id])))
            final = {short(run.name): run for run in runs if run.state is not None and run.state.is_final()}
            return final if set(named) <= set(final) else {}

        with get_client(sync_client=True) as client:
            return until(ended)

    def artifacts(self) -> dict[str | None, Artifact]:
        """What the dashboard shows of the run, by key; of several with one key the newest."""
        with get_client(sync_client=True) as client:
            filters = FlowRunFilter(id=FlowRunFilterId(any_=[self.run_id]))
            found = client.read_artifacts(flow_run_filter=filters)
        return {artifact.key: artifact for artifact in sorted(found, key=created)}


def created(artifact: Artifact) -> datetime:
    assert artifact.created is not None
    return artifact.created


def short(name: str) -> str:
    """A task run's name: "frame 2" of "frame 2: is walking", "checks" of "checks-3f0"."""
    return name.partition(":")[0].partition("-")[0]


@dataclass(frozen=True)
class Stage:
    """Where the flow is run: the tiny profile, and an output directory."""

    output: Path

    def options(self, **changes: Any) -> StoryboardOptions:
        """Three frames in two steps. The random CLIP's agreement with words means nothing, so it is not asked for."""
        plain = {"profile": "tiny", "frames": 3, "steps": 2, "prompt_threshold": -1, "device": "cpu", "batch_size": 1}
        return StoryboardOptions.model_validate({**plain, "output_dir": str(self.output), **changes})

    def run(self, story: str = STORY, **changes: Any) -> Ran:
        """Run the flow; whether it succeeded shows in its state."""
        state = storyboard(story, self.options(**changes), return_state=True)
        return Ran(state, self.output)

    def begin_with(self, ran: Ran) -> None:
        """Start from a copy of what this run has made."""
        shutil.copytree(ran.output, self.output)

    def boards(self) -> list[Path]:
        """All storyboards' directories."""
        return sorted(self.output.glob("terminal_generation_*"))

    def entries(self) -> list[Path]:
        """Entries of painted pictures in the store."""
        return sorted((self.output / ".store" / "pictures").rglob("*.json"))

    def put_scenes(self, breakdown: SceneBreakdown) -> None:
        """Let the store hold these scenes for the story, as if they had been written or edited by somebody."""
        options = self.options(frames=len(breakdown.scenes))
        key = writer.scenes_key(breakdown.story, options, options.get_profile(), Keys())
        Store.within(self.output).put(writer.SCENES, key, breakdown)


def scenes_of(ran: Ran) -> SceneBreakdown:
    """The scenes of a run."""
    return SceneBreakdown.model_validate_json((ran.board / "scene_breakdown.json").read_bytes())


def with_scene(breakdown: SceneBreakdown, number: int, **changes: Any) -> SceneBreakdown:
    """The breakdown with one scene edited."""
    scenes = [scene.model_copy(update=changes) if scene.number == number else scene for scene in breakdown.scenes]
    return breakdown.model_copy(update={"scenes": tuple(scenes)})
