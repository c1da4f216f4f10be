"""Asking people: the forms, how a run waits for them, and what the dashboard shows meanwhile."""

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
"""How long an answer is waited for."""
POLL_SECONDS = 2
"""How often a run that waits in its process looks for the answer."""


class ScenesForm(RunInput):
    """What a person wants otherwise about the scenes."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    changes: str = Field("", max_length=10_000)
    """Empty: the scenes are accepted. Else a change a line, such as 2 caption: He sleeps. The scenes are shown in the
    run's artifact review, with the names of all that can be changed."""


class FramesForm(RunInput):
    """The frames that a person wants painted anew."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    redo: list[FrameWish] = Field([])
    """Frames to paint anew. Empty: all are accepted."""


Form = TypeVar("Form", bound=RunInput)


def fill(form: type[Form], page: str, problem: str = "", **values: Any) -> type[Form]:
    """The form with these values in it, under a page of markdown.

    What was wrong with the last answer is said on the page and in the explanation of the first field: the first of
    Prefect's two UIs leaves no room for the page above a long form.
    """
    fields = {name: copy(form.model_fields[name]) for name in values}
    for name, field in fields.items():
        field.default = values[name]
    if problem:
        first = next(iter(fields.values()))
        first.description = f"Not accepted: {escape(problem)}. {first.description}"
    return form.with_initial_data(description=with_problem(page, problem), **fields)


def show_question(page: str, problem: str, subject: Subject) -> None:
    """Show what is asked as an artifact of the run: a form has little room for it, or none."""
    show_page("review", with_problem(page, problem), f"Please look at the {subject}, then Resume the run")


def require_dashboard(options: StoryboardOptions) -> None:
    """Refuse a review where people have nowhere to answer.

    Raises:
        InputError: the run has no server besides the one that Prefect starts for it and stops with it.
    """
    if not PREFECT_API_URL.value():
        raise InputError(
            f"review {options.review} needs a dashboard to answer in: make up, or prefect server start, and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api; or use --review none"
        )


def ask(form: type[Form], subject: Subject, number: int) -> Form:
    """Put a form before people, and wait for the answer. For flows alone: a task can't suspend its run.

    The run of a deployment ends here, and its worker starts it again with the answer. Any other run, which nobody would
    start again, waits in its process.

    Args:
        form: with the values that are shown.
        subject: what is asked about.
        number: of the question in this run, from 1 on. A question that was answered already is not asked again.

    Raises:
        RunStopped: nobody answered in time.
    """
    with get_client(sync_client=True) as client:
        starts = client.read_flow_run(flow_run.id).run_count
    key = f"{subject}-{starts}-{number}"  # Prefect forgets the questions of a run that failed, but not their names
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
            f"nobody approved the {subject} within {HOURS} hours; run it again to go on, what was finished is kept"
        ) from None


@contextmanager
def _saying(message: str) -> Iterator[None]:
    """Let the states of a wait that begins here carry this message, for which Prefect's functions have no parameter."""
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
    """Write the scenes as they were approved into the board.

    Raises:
        StorageError: the board cannot be written.
    """
    write_json(board, SCENES_FILE, approved)
    get_run_logger().info("scenes approved: %s", "; ".join(edits(written, approved)) or "as they were written")


@task(name="show frames", **RETRYING)
def show_frames(report: Report, board: Path) -> str:
    """The frames as a page of markdown, for the question and for the run's artifacts.

    Raises:
        ObjectNotFound, CorruptFile: a frame's picture is gone or broken.
        StorageError: the board cannot be written.
    """
    sheet = show_board(report, write_sheet(report, board))
    return f"{sheet}\n{report_markdown(report, board)}"


@task(name="reword prompts", **RETRYING)
def keep_prompts(prompts: list[FramePrompt], changes: Changes, board: Path) -> None:
    """Write the prompts, some of them in a person's words, into the board.

    Raises:
        StorageError: the board cannot be written.
    """
    write_json(board, PROMPTS_FILE, prompts)
    for number, change in sorted(changes.items()):
        words = "" if change.prompt is None else f", {change.prompt}"
        get_run_logger().info("frame %d as it was asked for: from seed %d%s", number, change.seed, words)
