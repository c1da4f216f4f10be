"""The flow that makes a new storyboard from a finished one whose scenes were edited.

python -m flows.storyboard --from outputs/terminal_generation_20251019_052851

board ── checks ── weights ── scenes ── prompts ── models ── frames: kept, or painted ── report
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.clock import Clock
from flows.logs import prepare_logs
from flows.outcome import failing_in_words, run_name
from flows.storyboard import THREADS, Keep, tell
from models.edited.plan import Edit, match_frames
from models.forms.edited import EditForm
from models.forms.form import UNSET
from models.frames.render_config import RenderConfig, RunSettings
from models.records import Adapter, FramePrompt, FrameResult, SceneBreakdown
from models.settings import StoryboardOptions
from tasks.checks import check
from tasks.edited import keep, read_edit, refine_again, take_scenes
from tasks.review import require_dashboard
from tasks.weights import fetch_weights

prepare_logs()


def _name() -> str:
    return run_name(f"again: {Path(str(flow_run.parameters.get('board'))).name}")


@flow(name="edit-board", flow_run_name=_name, task_runner=THREADS)
@failing_in_words
def edit_board(
    board: Annotated[str, Field(min_length=1, max_length=4096)],
    options: EditForm = UNSET,
) -> str:
    """Make a new storyboard from a finished one whose scene_breakdown.json was edited; the old one stays unchanged.

    Args:
        board: The finished storyboard's directory or exported ZIP, or the id of the flow run that made it.
        options: Only attempts, review, refresh, output_dir and what concerns the machine. All others are the board's.

    Returns:
        The new storyboard's directory.
    """
    clock = Clock()
    with clock.stage("checks"):
        edit: Edit = read_edit(board, options)
        require_dashboard(edit.options)
        settings = check(edit.painting, str(flow_run.id))
    return tell(Edited(edit, settings), clock)


@dataclass(frozen=True)
class Edited:
    """The scenes of a finished board, of which unchanged frames are kept."""

    edit: Edit
    settings: RunSettings

    @property
    def options(self) -> StoryboardOptions:
        """For the new board's report."""
        return self.edit.options

    def fetch(self) -> list[Adapter]:
        """Fetch the old board's LoRAs."""
        return fetch_weights(self.edit.painting, self.settings.profile)

    def scenes(self, board: Path) -> SceneBreakdown:
        """Return the edited scenes."""
        return take_scenes(self.edit, board)

    def prompts(self, breakdown: SceneBreakdown, board: Path) -> list[FramePrompt]:
        """Return the prompts, old ones where nothing that is painted was edited."""
        return refine_again(self.edit, breakdown, self.settings.profile, board)

    def complete(self, render_config: RenderConfig) -> RenderConfig:
        """Return the config with the old board's settings."""
        return self.edit.like_the_board(render_config)

    def keeping(self, prompts: list[FramePrompt], render_config: RenderConfig, board: Path) -> Keep:
        """Return what keeps the unchanged frames."""
        old = match_frames(self.edit, prompts)

        def kept(prompt: FramePrompt, reference: FrameResult | None) -> FrameResult | None:
            if prompt.number not in old:
                return None
            return keep(self.edit, old[prompt.number], prompt, reference, render_config, board)

        return kept
