"""The stages of a board made again: read the edited scenes, word the prompts, keep what did not change."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger
from prefect.runtime import task_run

from models.board.directory import PROMPTS_FILE, SCENES_FILE, place_frame, write_json
from models.edited.kept import keep_frame
from models.edited.plan import Edit, keep_words, plan_edit
from models.frames.render_config import RenderConfig
from models.language.prompts import refine, token_counter
from models.profiles import Profile
from models.records import FramePrompt, FrameResult, SceneBreakdown
from models.settings import StoryboardOptions
from tasks.redo import find_board
from tasks.retries import RETRYING


@task(name="board", **RETRYING)
def read_edit(board: str, options: StoryboardOptions) -> Edit:
    """Return the plan for a new board from the one named by a directory or a flow run's id.

    Raises:
        InputError: the board is unfinished or was changed, or its scenes are invalid.
    """
    edit = plan_edit(find_board(board), options)
    before, after = len(edit.report.frames), len(edit.edited.breakdown.scenes)
    get_run_logger().info("%s: %d panels before, %d now", edit.folder, before, after)
    return edit


@task(name="scenes", **RETRYING)
def take_scenes(edit: Edit, board: Path) -> SceneBreakdown:
    """Write the edited scenes into the new board and return them.

    Raises:
        StorageError: the board can't be written.
    """
    write_json(board, SCENES_FILE, edit.edited.breakdown)
    return edit.edited.breakdown


@task(name="prompts", **RETRYING)
def refine_again(edit: Edit, breakdown: SceneBreakdown, profile: Profile, board: Path) -> list[FramePrompt]:
    """Return each scene's prompt, with the old board's words where nothing that is painted was edited.

    Raises:
        WeightsInvalid: the profile's tokenizer is missing or broken.
    """
    count = token_counter(profile)
    prompts = keep_words(edit, breakdown, [refine(scene, breakdown.cast, profile, count) for scene in breakdown.scenes])
    write_json(board, PROMPTS_FILE, prompts)
    return prompts


def _name() -> str:
    prompt: FramePrompt = task_run.parameters["prompt"]
    return f"keep frame {prompt.number}: {prompt.scene.action[:60]}"


@task(name="keep frame", task_run_name=_name, **RETRYING)
def keep(
    edit: Edit, old: int, prompt: FramePrompt, reference: FrameResult | None, render_config: RenderConfig, board: Path
) -> FrameResult | None:
    """Copy an unchanged frame's picture into the new board; None if it must be painted after all.

    Raises:
        ModelError, StorageError: see `models.errors`.
    """
    result = keep_frame(edit, old, prompt, reference, render_config)
    if result is not None:
        place_frame(board, result)
        get_run_logger().info("frame %d kept: frame %d of %s", prompt.number, old, edit.folder)
    return result
