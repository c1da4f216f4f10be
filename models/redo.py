"""One frame of a finished board painted again, as it would have been painted in the storyboard's own run.

    Board + RedoOptions -> Redo -> FrameJob -> FrameResult -> the board with another report

What was left to the profile or the machine when the board was made is taken from what was painted: from the report,
and from the recipes in the pictures. So a frame is redone as its neighbours were painted, whatever has become of the
defaults meanwhile. The models must be the same, to the byte.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.board.finished import Board, read_board
from models.board.recipe import read_recipe
from models.board.report import FrameReport
from models.errors import InputError
from models.frames import FrameJob, seed_of
from models.language.prompts import MAX_TOKENS, token_counter
from models.records import Candidate, FramePrompt, FrameResult, Record, Weights
from models.settings import DEVICES, StoryboardOptions
from models.studio import Studio, read_sketches

NO_SKETCH = "none"


class RedoOptions(BaseModel):
    """How a frame is redone. With neither prompt, seed nor sketch it is painted from the next seed not used yet."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prompt: str | None = Field(None, min_length=1, max_length=2000)
    """The whole prompt, with the word that the character was trained on. Unset: as it is."""
    seed: int | None = Field(None, ge=0, le=2**32)
    """Seed of this frame, as the report names it; each retry adds 10. Unset: with another prompt or sketch that of the
    picture on the board, else the next that was not used."""
    sketch: str | None = Field(None, min_length=1, max_length=1024)
    """Picture file whose lines lead the frame at full strength; "none" for frame 1's edges. Unset: as it is."""
    attempts: int | None = Field(None, ge=1, le=10)
    """How many seeds may be tried before the best is kept. Unset: as many as the board's frames had."""
    device: str | None = Field(None, pattern=DEVICES)
    """cpu, cuda, cuda:N or mps. Unset: as the board was made."""

    @field_validator("prompt", mode="before")
    @classmethod
    def _one_line(cls, value: object) -> object:
        return " ".join(value.split()) if isinstance(value, str) else value


class Redo(Record):
    """A frame that is to be redone; nothing in it is left to be decided."""

    board: Board
    number: int
    words: str | None
    """The new prompt, or None for the old one."""
    seed: int
    """Of the first attempt."""
    painting: StoryboardOptions
    """The board's options with everything set that decides what is painted."""

    @property
    def frame(self) -> FrameReport:
        """The frame as it is on the board."""
        return self.board.report.frames[self.number - 1]


def plan_redo(folder: str | Path, number: int, wanted: RedoOptions) -> Redo:
    """What redoing this frame takes.

    Raises:
        InputError: no finished board, one that was changed, or no such frame.
        StorageError: a file cannot be read.
    """
    board = read_board(folder)
    count = board.report.num_frames
    if not 1 <= number <= count:
        raise InputError(f"frame {number}: the storyboard in {board.folder} has frames 1 to {count}")
    frame = board.report.frames[number - 1]
    return Redo(
        board=board,
        number=number,
        words=wanted.prompt,
        seed=_first_seed(frame, wanted),
        painting=_painting(board, frame, wanted),
    )


def _first_seed(frame: FrameReport, wanted: RedoOptions) -> int:
    if wanted.seed is not None:
        return wanted.seed
    if wanted.prompt is not None or wanted.sketch is not None:
        return frame.seed
    lists = (frame.candidates, *(take.candidates for take in frame.takes))
    return max(candidate.seed for candidates in lists for candidate in candidates) + seed_of(0, 1, 1)


def _painting(board: Board, frame: FrameReport, wanted: RedoOptions) -> StoryboardOptions:
    """The board's options as they came to be; its writer is not asked again, and needs no key."""
    folder, report = Path(board.folder), board.report
    recipes = [read_recipe(folder / other.file) for other in report.frames]
    lines = [recipe.control for recipe in recipes if recipe.control and recipe.control.kind == "reference"]
    guided = {"control_scale": lines[0].scale, "control_end": lines[0].end} if lines else {}
    recipe, given = recipes[frame.number - 1], report.options
    sketch = wanted.sketch or frame.sketch or given.sketches.get(frame.number, NO_SKETCH)
    changes = {
        "writer": "offline",
        "frames": report.num_frames,
        "output_dir": str(folder.parent),
        "threshold": report.threshold,
        "prompt_threshold": report.prompt_threshold,
        "size": recipe.size,
        "steps": recipe.steps,
        "guidance": recipe.guidance,
        **guided,
        "attempts": wanted.attempts or given.attempts,
        "sketches": {} if sketch == NO_SKETCH else {frame.number: sketch},
        "refresh": False,
        "device": wanted.device or given.device,
        "precision": given.precision if wanted.device else report.precision,
    }
    return StoryboardOptions.model_validate(given.model_dump() | changes)


def prepare_frame(redo: Redo, studio: Studio) -> FrameJob:
    """The frame as a job of the studio.

    Raises:
        InputError: the models are not those of the board, or the prompt is too long.
        ObjectNotFound, StorageError: the sketch is gone or cannot be read.
    """
    _refuse_other_weights(redo.board.report.weights, studio.weights)
    folder, number = Path(redo.board.folder), redo.number
    return FrameJob(
        studio=studio.for_one().model_copy(update={"base_seed": redo.seed - seed_of(0, number, 0)}),
        prompt=_prompt(redo),
        reference=None if number == 1 else _reference(redo.board),
        sketch=read_sketches(redo.painting).get(number),
        earlier=tuple(str(folder / before.file) for before in redo.board.report.frames[: number - 1]),
    )


def _refuse_other_weights(made_with: Weights, loaded: Weights) -> None:
    changed = made_with.unlike(loaded)
    if changed:
        raise InputError(
            f"the board was painted with other weights ({changed} changed since), so a new frame would not "
            "be like the others: bring the old weights back, or make the storyboard again"
        )


def _prompt(redo: Redo) -> FramePrompt:
    old = redo.board.prompts[redo.number - 1]
    if redo.words is None:
        return old
    tokens = token_counter(redo.painting.get_profile())(redo.words)
    if tokens > MAX_TOKENS:
        raise InputError(f"prompt: {tokens} tokens long, {MAX_TOKENS} are read; shorten it, got {redo.words!r}")
    return old.model_copy(update={"prompt": redo.words, "tokens": tokens, "cut": ()})


def _reference(board: Board) -> FrameResult:
    """Frame 1 as it is on the board."""
    frame, file = board.report.frames[0], str(Path(board.folder) / board.report.frames[0].file)
    kept = next(candidate for candidate in frame.candidates if candidate.sha256 == frame.sha256)
    return FrameResult(
        prompt=board.prompts[0],
        file=file,
        sha256=frame.sha256,
        seed=frame.seed,
        attempts=frame.attempts,
        accepted=frame.accepted,
        candidates=(Candidate(file=file, **dict(kept)),),
        painted=0,
    )
