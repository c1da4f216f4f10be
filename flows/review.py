"""The review of scenes and frames within a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.clock import Clock
from models.board.report import Report
from models.errors import InputError
from models.language.prompts import token_counter
from models.profiles import Profile
from models.records import FramePrompt, FrameResult, SceneBreakdown
from models.review.answers import (
    Changes,
    Memory,
    Subject,
    change_frames,
    frames_page,
    keep,
    last_approved,
    open_board,
    recall,
    remember_approved,
    reword,
    scenes_page,
)
from models.review.scene_changes import edit_scenes
from models.settings import StoryboardOptions
from models.storage.content_store import Store
from tasks.review import (
    HOURS,
    FramesForm,
    ScenesForm,
    ask,
    fill,
    keep_prompts,
    keep_scenes,
    show_question,
)
from tasks.review import show_frames as show

Form = TypeVar("Form", bound=RunInput)


class Paint(Protocol):
    """Paints all frames with the requested changes."""

    def __call__(self, changes: Changes) -> list[FrameResult]:
        """Return all frames; unchanged ones come from the store."""


class Review:
    """The questions of one run and its memory of the answers. Without review nothing is stored.

    Args:
        options: the run's options.
        profile: the run's profile.
        clock: times the questions, and gives the time of the run's first start.
    """

    def __init__(self, options: StoryboardOptions, profile: Profile, clock: Clock) -> None:
        self.options = options
        self.profile = profile
        self.clock = clock
        self.store = Store.within(options.output_dir)
        self.asked = 0

    def begin(self) -> Path:
        """Return the run's directory: its earlier one after a suspension or crash, else a new one."""
        found = None if self.options.review == "none" else recall(self.store, str(flow_run.id))
        board = open_board(self.options.output_dir, found)
        self.memory = found or Memory(board=board.name, started=self.clock.started)
        self._remember(board=board.name)
        self.asked = self.memory.answers
        return board

    def is_open(self, subject: Subject) -> bool:
        """Whether these still have to be approved."""
        return self.options.review in (subject, "all") and subject not in self.memory.approved

    def scenes(self, write: Callable[[], SceneBreakdown]) -> SceneBreakdown:
        """Return the run's scenes; they are written only on its first start."""
        if self.memory.scenes is None:
            self._remember(scenes=write())
        assert self.memory.scenes is not None
        return self.memory.scenes

    def approve_scenes(self, written: SceneBreakdown, board: Path) -> SceneBreakdown:
        """Return the approved scenes, or the written ones if no approval is needed."""
        if not self.is_open("scenes"):
            return written
        with self.clock.stage("review of the scenes"):
            approved = self._ask_about_scenes(written)
            keep_scenes(written, approved, board)
            remember_approved(self.store, written, approved)
        self._remember(scenes=approved, approved=(*self.memory.approved, "scenes"), answers=self.asked)
        return approved

    def approve_frames(
        self, results: list[FrameResult], paint: Paint, report_of: Callable[[list[FrameResult]], Report], board: Path
    ) -> list[FrameResult]:
        """Ask about the frames and repaint them until they are approved; return them unchanged without review."""
        while self.is_open("frames"):
            with self.clock.stage("review of the frames"):
                wishes = self._ask_about_frames(report_of(results), results, board)
            results = paint(self.memory.changes) if wishes else results
        return results

    def _ask_about_scenes(self, written: SceneBreakdown) -> SceneBreakdown:
        if self.memory.shown is None:
            earlier = None if self.options.refresh else last_approved(self.store, written)
            self._remember(shown=earlier or written)
        first = self.memory.shown or written
        page, problem, changes = scenes_page(first, HOURS, again=first != written), "", ""
        while True:
            answer = self._ask(ScenesForm, page, problem, "scenes", changes=changes)
            try:
                return edit_scenes(first, answer.changes)
            except InputError as error:
                problem, changes = str(error), answer.changes
                get_run_logger().warning("the scenes were not accepted: %s", problem)

    def _ask_about_frames(self, report: Report, results: list[FrameResult], board: Path) -> bool:
        """Ask about the frames once, and return whether some must be painted again."""
        self._remember(painted=True)
        page, count = frames_page(show(report, board), HOURS), token_counter(self.profile)
        problem, shown = "", dict[str, Any](redo=[])
        while True:
            answer = self._ask(FramesForm, page, problem, "frames", **shown)
            try:
                changes = change_frames(answer.redo, results, self.memory.changes, count)
                break
            except InputError as error:
                problem, shown = str(error), dict(answer)
                get_run_logger().warning("the frames' changes were not accepted: %s", problem)
        approved = self.memory.approved if answer.redo else (*self.memory.approved, "frames")
        self._remember(changes=changes, approved=approved, answers=self.asked)
        return bool(answer.redo)

    def _ask(self, form: type[Form], page: str, problem: str, subject: Subject, **shown: Any) -> Form:
        self.asked += 1
        show_question(page, problem, subject)
        return ask(fill(form, page, problem, **shown), subject, self.asked)

    def _remember(self, **changes: Any) -> None:
        self.memory = self.memory.model_copy(update=changes)
        if self.options.review != "none":
            keep(self.store, str(flow_run.id), self.memory)


def reword_prompts(prompts: list[FramePrompt], changes: Changes, profile: Profile, board: Path) -> list[FramePrompt]:
    """Return the prompts with the requested changes, and write them into the board."""
    if not changes:
        return prompts
    reworded = reword(prompts, changes, token_counter(profile))
    keep_prompts(reworded, changes, board)
    return reworded
