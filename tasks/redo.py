"""The stages of redoing one frame: find the board, prepare the job, replace the picture."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

from PIL import Image
from prefect import task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.logging import get_run_logger

from models.board.markdown import escape
from models.board.pages import CONTACT_SHEET, report_markdown
from models.board.report import Report
from models.errors import InputError
from models.frames.generate import FrameJob
from models.frames.render_config import RenderConfig
from models.records import FrameResult
from models.redo.plan import Redo, RedoOptions, plan_redo, prepare_frame
from models.redo.replace import redo_lines, replace_frame, replace_words
from tasks.artifacts import show_page
from tasks.report import show_board
from tasks.retries import RETRYING


@task(name="board", **RETRYING)
def find_frame(board: str, number: int, wanted: RedoOptions) -> Redo:
    """Return the plan for redoing a frame of the board named by a directory or a flow run's id.

    Raises:
        InputError: the board is unfinished or was changed, or has no such frame.
    """
    redo = plan_redo(find_board(board), number, wanted)
    what = f"from seed {redo.seed} on" if redo.paints else "words only"
    get_run_logger().info("frame %d of %s, %s", number, redo.board.folder, what)
    return redo


@task(name="prompt", **RETRYING)
def prepare(redo: Redo, render_config: RenderConfig) -> FrameJob:
    """Return the frame's job, after checking that the models are the board's.

    Raises:
        InputError: the models differ, or the prompt is too long.
    """
    job = prepare_frame(redo, render_config)
    for warning in redo.warnings:
        get_run_logger().warning("%s", warning)
    trigger = render_config.profile.trigger
    if trigger not in job.prompt.prompt:
        get_run_logger().warning("the prompt lacks %r, the character's trigger word", trigger)
    return job


@task(name="report", **RETRYING)
def put_on_board(redo: Redo, job: FrameJob, result: FrameResult) -> Report:
    """Put the picture on the board, keep the old one, and return the new report.

    Raises:
        InputError: it is the same picture, or frame 1 was redone meanwhile.
        StorageError: the board can't be written; it is unchanged.
    """
    report, board = replace_frame(redo, job, result), Path(redo.board.folder)
    _show(report, board, _markdown(report, board, redo.number), "What was redone")
    get_run_logger().info("\n%s", "\n".join(redo_lines(report, redo.number)))
    return report


@task(name="report", **RETRYING)
def put_words_on_board(redo: Redo) -> Report:
    """Change what the frame's panel says, and return the new report; nothing is painted.

    Raises:
        StorageError: the board can't be written; it is unchanged.
    """
    report, board = replace_words(redo), Path(redo.board.folder)
    _show(report, board, report_markdown(report, board), "The storyboard")
    get_run_logger().info("frame %d: words changed, nothing painted", redo.number)
    return report


def _show(report: Report, board: Path, page: str, title: str) -> None:
    show_page("report", page, title)
    with Image.open(board / CONTACT_SHEET) as sheet:
        show_board(report, sheet)


def _markdown(report: Report, board: Path, number: int) -> str:
    lines = [f"- {escape(line)}" for line in redo_lines(report, number)]
    return "\n".join(["## Redone\n", *lines, "", report_markdown(report, board)])


def find_board(named: str) -> Path:
    """Return the named directory, or the board directory of the flow run with this id.

    A run's report artifact, which the server keeps, names its directory. The directory must be on this machine or on a
    shared disk.

    Raises:
        InputError: the flow run has no such artifact.
    """
    run = _run_id(named)
    if run is None or Path(named).exists():
        return Path(named)
    with get_client(sync_client=True) as client:
        filters = ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=["report"])
        )
        artifacts = client.read_artifacts(artifact_filter=filters)
    for artifact in artifacts:
        found = re.search(r"^- \*\*Files:\*\* (`+)(.+)\1$", str(artifact.data), re.MULTILINE)
        if found:
            return Path(found[2] if found[1] == "`" else found[2][1:-1])
    raise InputError(f"flow run {named}: has no finished storyboard; name one that completed, or the directory")


def _run_id(named: str) -> UUID | None:
    try:
        return UUID(named)
    except ValueError:
        return None
