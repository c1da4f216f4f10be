"""What people are asked in the middle of a run, and how it goes on with their answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from models.board.report import Report
from models.errors import InputError
from models.language.prompts import token_counter
from models.records import FramePrompt, FrameResult, SceneBreakdown
from models.review.answers import (
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
    require_dashboard,
    show_question,
)
from tasks.review import show_frames as show

Form = TypeVar("Form", bound=RunInput)


class Review:
    """The questions of one run, and its memory of the answers. Where nothing is reviewed, nothing is kept.

    Raises:
        InputError: there is nowhere to answer.
    """

    def __init__(self, options: StoryboardOptions) -> None:
        if options.review != "none":
            require_dashboard(options)
        self.options = options
        self.store = Store.within(options.output_dir)
        self.asked = 0

    def begin(self, started: datetime) -> Path:
        """The run's directory: the one it had, if it was suspended or has crashed.

        Args:
            started: when it started, if this is for the first time.
        """
        found = None if self.options.review == "none" else recall(self.store, str(flow_run.id))
        board = open_board(self.options.output_dir, found)
        self.memory = found or Memory(board=board.name, started=started)
        self._remember(board=board.name)
        self.asked = self.memory.answers
        return board

    def is_open(self, subject: Subject) -> bool:
        """Whether people are still to approve these."""
        return self.options.review in (subject, "all") and subject not in self.memory.approved

    def scenes(self, write: Callable[[], SceneBreakdown]) -> SceneBreakdown:
        """The run's scenes, which are written once, however often it starts."""
        if self.memory.scenes is None:
            self._remember(scenes=write())
        assert self.memory.scenes is not None
        return self.memory.scenes

    def approve_scenes(self, written: SceneBreakdown, board: Path) -> SceneBreakdown:
        """The scenes as a person leaves them; asks until they are right."""
        if self.memory.shown is None:
            earlier = None if self.options.refresh else last_approved(self.store, written)
            self._remember(shown=earlier or written)
        first = self.memory.shown or written
        page, problem, changes = scenes_page(first, HOURS, again=first != written), "", ""
        while True:
            answer = self._ask(ScenesForm, page, problem, "scenes", changes=changes)
            try:
                approved = edit_scenes(first, answer.changes)
                break
            except InputError as error:
                problem, changes = str(error), answer.changes
                get_run_logger().warning("the scenes were not accepted: %s", problem)
        keep_scenes(written, approved, board)
        remember_approved(self.store, written, approved)
        self._remember(scenes=approved, approved=(*self.memory.approved, "scenes"), answers=self.asked)
        return approved

    def approve_frames(self, report: Report, results: list[FrameResult], board: Path) -> bool:
        """Show the frames and ask which are to be painted anew, until the answer is right; True if some are."""
        self._remember(painted=True)
        page, count = frames_page(show(report, board), HOURS), token_counter(self.options.get_profile())
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

    def reword(self, prompts: list[FramePrompt], board: Path) -> list[FramePrompt]:
        """The prompts, in people's words where they chose others."""
        if not self.memory.changes:
            return prompts
        reworded = reword(prompts, self.memory.changes, token_counter(self.options.get_profile()))
        keep_prompts(reworded, self.memory.changes, board)
        return reworded

    @property
    def seeds(self) -> dict[int, int]:
        """First seeds that people chose, by frame."""
        return {number: change.seed for number, change in self.memory.changes.items()}

    def _ask(self, form: type[Form], page: str, problem: str, subject: Subject, **shown: Any) -> Form:
        self.asked += 1
        show_question(page, problem, subject)
        return ask(fill(form, page, problem, **shown), subject, self.asked)

    def _remember(self, **changes: Any) -> None:
        self.memory = self.memory.model_copy(update=changes)
        if self.options.review != "none":
            keep(self.store, str(flow_run.id), self.memory)
