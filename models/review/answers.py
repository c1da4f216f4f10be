"""What people change when a run asks them about its scenes and frames, and what the run remembers of it.

A run that waits for an answer may end meanwhile and be started again, on its worker, from its first line. Its memory
lies in the store under the run's id: the directory it had, its scenes, and what it was told. So nobody is asked twice
and nothing is paid for twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from models.board.directory import create_board, forget_stop
from models.board.markdown import escape
from models.errors import InputError
from models.frames.generate import seed_of
from models.frames.render_config import RenderConfig
from models.language.prompts import MAX_TOKENS
from models.records import MAX_FRAMES, FramePrompt, FrameResult, Record, SceneBreakdown
from models.review.scene_changes import scenes_markdown
from models.storage.content_store import Store, content_key

RUNS, APPROVED = "runs", "approved"
MAX_SEED = 2**32
Subject = Literal["scenes", "frames"]


class FrameWish(Record):
    """A frame that a person wants to see painted anew."""

    frame: int = Field(ge=1, le=MAX_FRAMES)
    """Number of the frame. Frame 1 is the reference: with it all others are painted anew."""
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    """Seed to start from. Empty: with another prompt that of the picture, else the next that was not used."""
    prompt: str | None = Field(None, max_length=2000)
    """The whole prompt, in other words. Empty: as it is."""

    @field_validator("prompt", mode="after")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        return " ".join((value or "").split()) or None


class FrameChange(Record):
    """How a frame is painted otherwise than its scene and the base seed would have it."""

    seed: int
    """Of its first attempt."""
    prompt: str | None = None
    """The whole prompt, or None for the scene's."""


Changes = dict[int, FrameChange]
"""What people wanted otherwise, by frame."""


class Memory(Record):
    """What a reviewed run remembers."""

    board: str
    """Name of its directory."""
    started: datetime
    scenes: SceneBreakdown | None = None
    """As they were written, and then as they were approved."""
    shown: SceneBreakdown | None = None
    """What the form with the scenes held at first, which an answer without values means."""
    changes: Changes = Field({})
    painted: bool = False
    """Whether all frames were painted once."""
    approved: tuple[Subject, ...] = ()
    answers: int = 0
    """How many answers are in this memory."""


def recall(store: Store, run: str) -> Memory | None:
    """What this run remembers; None on its first start."""
    return store.get(RUNS, content_key(RUNS, run=run), Memory)


def keep(store: Store, run: str, memory: Memory) -> None:
    """Let the run remember this.

    Raises:
        StorageError: the store cannot be written.
    """
    store.put(RUNS, content_key(RUNS, run=run), memory)


def open_board(output_dir: str, memory: Memory | None) -> Path:
    """The directory that the run had, or a new one where it had none or it is gone.

    Raises:
        StorageError: the folder may not be written, or the disk is full.
    """
    board = Path(output_dir) / memory.board if memory else None
    if board is None or not board.is_dir():
        return create_board(output_dir)
    forget_stop(board)
    return board


# --- scenes


def last_approved(store: Store, written: SceneBreakdown) -> SceneBreakdown | None:
    """What a person made of these very scenes in an earlier run; None if nobody was asked about them."""
    return store.get(APPROVED, content_key(APPROVED, written=written), SceneBreakdown)


def remember_approved(store: Store, written: SceneBreakdown, approved: SceneBreakdown) -> None:
    """Keep what a person made of these scenes, so that another run can show it again.

    Raises:
        StorageError: the store cannot be written.
    """
    store.put(APPROVED, content_key(APPROVED, written=written), approved)


def edits(written: SceneBreakdown, approved: SceneBreakdown) -> Iterator[str]:
    """What a person changed, in a few words each: "title", "cast", "scene 2 (action, place)"."""
    yield from (name for name in ("title", "cast") if getattr(written, name) != getattr(approved, name))
    for before, after in zip(written.scenes, approved.scenes, strict=True):
        changed = [name for name, value in before if getattr(after, name) != value]
        if changed:
            yield f"scene {before.number} ({', '.join(changed)})"


# --- frames


def change_frames(
    wishes: Sequence[FrameWish],
    results: Sequence[FrameResult],
    changes: Changes,
    count_tokens: Callable[[str], int],
) -> Changes:
    """All changes, these wishes and the earlier ones.

    Args:
        wishes: what is to be painted anew.
        results: the frames as they are.
        changes: what was wanted before.
        count_tokens: length of a text in the profile's tokens.

    Raises:
        InputError: a wish that can't be met; the message says why.
    """
    found = dict(changes)
    for wish in wishes:
        if wish.frame > len(results):
            raise InputError(f"frame {wish.frame}: the storyboard has frames 1 to {len(results)}")
        if [other.frame for other in wishes].count(wish.frame) > 1:
            raise InputError(f"frame {wish.frame} is named more than once; keep one")
        if wish.prompt is not None and (tokens := count_tokens(wish.prompt)) > MAX_TOKENS:
            raise InputError(
                f"frame {wish.frame}: the prompt is {tokens} tokens long, {MAX_TOKENS} are read; shorten it"
            )
        found[wish.frame] = _change(wish, results[wish.frame - 1], changes.get(wish.frame))
    return found


def _change(wish: FrameWish, result: FrameResult, earlier: FrameChange | None) -> FrameChange:
    reworded = wish.prompt is not None and wish.prompt != result.prompt.prompt
    used = [candidate.seed for candidate in result.candidates]
    seed = wish.seed
    if seed is None:
        seed = result.seed if reworded else max(used) + seed_of(0, 1, 1)
    if not reworded and seed == used[0]:
        raise InputError(
            f"frame {wish.frame}: seed {seed} gives the picture that is there; "
            "choose another seed or other words, or leave the seed empty"
        )
    return FrameChange(seed=seed, prompt=wish.prompt or (earlier.prompt if earlier else None))


def reword(prompts: Sequence[FramePrompt], changes: Changes, count_tokens: Callable[[str], int]) -> list[FramePrompt]:
    """The prompts, in a person's words where there are such."""

    def words(old: FramePrompt) -> FramePrompt:
        change = changes.get(old.number)
        if change is None or change.prompt is None:
            return old
        return old.model_copy(update={"prompt": change.prompt, "tokens": count_tokens(change.prompt), "cut": ()})

    return [words(prompt) for prompt in prompts]


def seeds_of(changes: Changes) -> dict[int, int]:
    """First seeds that people chose, by frame."""
    return {number: change.seed for number, change in changes.items()}


def starting_from(render_config: RenderConfig, number: int, seed: int | None) -> RenderConfig:
    """The render config, in which the first attempt at this frame has this seed."""
    if seed is None:
        return render_config
    return render_config.model_copy(update={"base_seed": seed - seed_of(0, number, 0)})


# --- what people read


def scenes_page(shown: SceneBreakdown, hours: int, *, again: bool) -> str:
    """Says what is asked, in markdown, with the scenes.

    Args:
        shown: the scenes.
        hours: how long an answer is waited for.
        again: whether they are those that were approved in an earlier run.
    """
    before = "These are the scenes as they were approved before. " if again else ""
    return (
        f"# The scenes\n\n{before}Send the form as it is to accept them: frames are painted from them. Or write what "
        "should be otherwise, a change a line:\n\n"
        "    2 caption: He sleeps.\n    2 cast: the merchant, the khan\n    cast the khan: a khan in a white robe\n"
        f"    title: The price of a nap\n\nWhom a scene names must be in the cast. {_deadline(hours)}\n\n"
        f"{scenes_markdown(shown)}"
    )


def frames_page(page: str, hours: int) -> str:
    """Says what is asked, in markdown, with the frames and what is known of them.

    Args:
        page: contact sheet and report, in markdown.
        hours: how long an answer is waited for.
    """
    return (
        "# The frames\n\nSend the form with an empty list to accept all frames, or add those to be painted anew; "
        "the others stay as they are.\n\n" + _deadline(hours) + "\n\n" + page
    )


def _deadline(hours: int) -> str:
    return f"The run waits {hours} hours for an answer, and fails after that. What was finished is kept."


def with_problem(page: str, problem: str) -> str:
    """The page, which first says what was wrong with the last answer."""
    return f"**Not accepted:** {escape(problem)}\n\n{page}" if problem else page
