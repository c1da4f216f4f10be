"""The stages of a storyboard from a screenplay."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger

from models.board.directory import SCENES_FILE, write_json
from models.profiles import Profile
from models.records import SceneBreakdown
from models.screenplay.scenes import write_scenes
from tasks.retries import RETRYING


@task(name="screenplay", **RETRYING)
def read_script(file: str, profile: Profile) -> SceneBreakdown:
    """Return the screenplay's scenes, one panel a beat.

    Raises:
        InputError: the file is no screenplay, or is too long.
        StorageError, WeightsInvalid: see `models.errors`.
    """
    breakdown, empty = write_scenes(file, profile)
    if empty:
        get_run_logger().warning("scenes in which nothing happens are left out: %s", "; ".join(empty))
    return breakdown


@task(name="scenes", **RETRYING)
def keep_scenes(breakdown: SceneBreakdown, board: Path) -> SceneBreakdown:
    """Write the scenes into the board and return them.

    Raises:
        StorageError: the board can't be written.
    """
    write_json(board, SCENES_FILE, breakdown)
    lines = [f"  {scene.number}. {scene.caption}" for scene in breakdown.scenes]
    get_run_logger().info("“%s”, by %s:\n%s", breakdown.title, breakdown.writer, "\n".join(lines))
    return breakdown
