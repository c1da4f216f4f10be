"""The review's forms, the waiting for answers, and what the dashboard shows meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect import flow_runs, task
from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run, suspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.settings import PREFECT_API_URL
from prefect.utilities.urls import url_for
from pydantic import ConfigDict, Field

from models.board.directory import PROMPTS_FILE, SCENES_FILE, write_json
from models.board.markdown import escape
from models.board.pages import report_markdown, write_sheet
from models.board.report import Report
from models.errors import InputError, RunStopped
from models.records import FramePrompt, SceneBreakdown
from models.review.answers import Changes, FrameWish, Subject, edits, with_problem
from models.settings import StoryboardOptions
from tasks.artifacts import show_page
from tasks.report import show_board
from tasks.retries import RETRYING

HOURS = 24
"""Longest wait for an answer."""
POLL_SECONDS = 2
"""Interval at which a run that waits in its process polls for the answer."""


class ScenesForm(RunInput):
    """Changes to the scenes."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    changes: str = Field("", max_length=10_000)
    """Empty: the scenes are accepted. Else one change per line, such as 2 caption: He sleeps. The run's artifact
    review shows the scenes, with the names of all parts that can be changed."""


class FramesForm(RunInput):
    """The frames to paint again."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    redo: list[FrameWish] = Field([])
    """Frames to paint again. Empty: all are accepted."""


Form = TypeVar("Form", bound=RunInput)


def fill(form: type[Form], page: str, problem: str = "", **values: Any) -> type[Form]:
    """Return the form filled with these values, under a page of markdown.

    The problem with the last answer is shown on the page and in the description of the first field, because the first
    of Prefect's two UIs leaves no room for the page above a long form.
    """
    fields = {name: copy(form.model_fields[name]) for name in values}
    for name, field in fields.items():
        field.default = values[name]
    if problem:
        first = next(iter(fields.values()))
        first.description = f"Not accepted: {escape(problem)}. {first.description}"
    return form.with_initial_data(description=with_problem(page, problem), **fields)


def show_question(page: str, problem: str, subject: Subject) -> None:
    """Show the question as an artifact of the run too, because the form has little room for it."""
    show_page("review", with_problem(page, problem), f"Please look at the {subject}, then Resume the run")


def require_dashboard(options: StoryboardOptions) -> None:
    """Refuse a review without a dashboard to answer in.

    Raises:
        InputError: the run has only the temporary server that ends with it.
    """
    if options.review != "none" and not PREFECT_API_URL.value():
        raise InputError(
            f"review {options.review} needs a dashboard to answer in: make up, or prefect server start, and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api; or use --review none"
        )


def ask(form: type[Form], subject: Subject, number: int) -> Form:
    """Show a form, wait for the answer and return it. Call it in flows only: a task can't suspend its run.

    A deployment's run ends here, and its worker starts it again with the answer. Any other run waits in its process,
    because nothing would start it again.

    Args:
        form: the form with its values filled in.
        subject: what the question is about.
        number: number of the question in this run, from 1.

    Raises:
        RunStopped: no answer came in time.
    """
    with get_client(sync_client=True) as client:
        starts = client.read_flow_run(flow_run.id).run_count
    key = f"{subject}-{starts}-{number}"  # with `starts`, because Prefect keeps the keys of a failed run's questions
    page = url_for("flow-run", obj_id=str(flow_run.id))
    get_run_logger().info("please look at the %s, within %d hours: %s (Resume)", subject, HOURS, page)
    wait: dict[str, Any] = {"wait_for_input": form, "timeout": HOURS * 3600, "key": key}
    try:
        with _saying(f"waits for you: look at the {subject}, then Resume"):
            if deployment.id and not flow_run.parent_flow_run_id:
                return cast(Form, suspend_flow_run(**wait))
            return cast(Form, pause_flow_run(**wait, poll_interval=POLL_SECONDS))
    except FlowPauseTimeout:
        raise RunStopped(
            f"nobody approved the {subject} within {HOURS} hours; run it again to continue, finished work is kept"
        ) from None


@contextmanager
def _saying(message: str) -> Iterator[None]:
    """Add this message to the states of a wait in this block, since Prefect's functions have no parameter for it."""
    states = {name: getattr(flow_runs, name) for name in ("Paused", "Suspended")}
    for name, make in states.items():
        setattr(flow_runs, name, partial(make, message=message))
    try:
        yield
    finally:
        for name, make in states.items():
            setattr(flow_runs, name, make)


@task(name="approve scenes", **RETRYING)
def keep_scenes(written: SceneBreakdown, approved: SceneBreakdown, board: Path) -> None:
    """Write the approved scenes into the board.

    Raises:
        StorageError: the board can't be written.
    """
    write_json(board, SCENES_FILE, approved)
    get_run_logger().info("scenes approved: %s", "; ".join(edits(written, approved)) or "as they were written")


@task(name="show frames", **RETRYING)
def show_frames(report: Report, board: Path) -> str:
    """Show the frames in the run's artifacts, and return them as markdown for the question.

    Raises:
        ObjectNotFound, CorruptFile: a frame's picture is missing or broken.
        StorageError: the board can't be written.
    """
    sheet = show_board(report, write_sheet(report, board))
    return f"{sheet}\n{report_markdown(report, board)}"


@task(name="reword prompts", **RETRYING)
def keep_prompts(prompts: list[FramePrompt], changes: Changes, board: Path) -> None:
    """Write the prompts, including changed ones, into the board.

    Raises:
        StorageError: the board can't be written.
    """
    write_json(board, PROMPTS_FILE, prompts)
    for number, change in sorted(changes.items()):
        words = "" if change.prompt is None else f", {change.prompt}"
        get_run_logger().info("frame %d as requested: from seed %d%s", number, change.seed, words)
