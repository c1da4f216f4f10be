"""The answers of a review: changes to scenes and frames, and the run's memory of them.

A run that waits for an answer may end, and its worker starts it again from the beginning. So its memory is kept in the
store under the run's id: its directory, its scenes and the answers. No question is asked and no work paid for twice.
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
    """A request to paint a frame again."""

    frame: int = Field(ge=1, le=MAX_FRAMES)
    """Number of the frame. Frame 1 is the reference: if it is painted again, all others are too."""
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    """Seed to start from. Empty: with another prompt the old seed, else the next unused one."""
    prompt: str | None = Field(None, max_length=2000)
    """The whole new prompt. Empty: the old prompt."""

    @field_validator("prompt", mode="after")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        return " ".join((value or "").split()) or None


class FrameChange(Record):
    """A frame's seed and prompt that replace those from the base seed and its scene."""

    seed: int
    """Seed of the first attempt."""
    prompt: str | None = None
    """The whole prompt, or None for the scene's."""


Changes = dict[int, FrameChange]
"""Requested changes by frame number."""


class Memory(Record):
    """The memory of a reviewed run."""

    board: str
    """Name of the run's directory."""
    started: datetime
    scenes: SceneBreakdown | None = None
    """The written scenes; after approval the approved ones."""
    shown: SceneBreakdown | None = None
    """The scenes as first shown in the form; an empty answer accepts them."""
    changes: Changes = Field({})
    painted: bool = False
    """Whether all frames were painted once."""
    approved: tuple[Subject, ...] = ()
    answers: int = 0
    """Number of questions already answered."""


def recall(store: Store, run: str) -> Memory | None:
    """Return the run's memory; None on its first start."""
    return store.get(RUNS, content_key(RUNS, run=run), Memory)


def keep(store: Store, run: str, memory: Memory) -> None:
    """Store the run's memory.

    Raises:
        StorageError: the store can't be written.
    """
    store.put(RUNS, content_key(RUNS, run=run), memory)


def open_board(output_dir: str, memory: Memory | None) -> Path:
    """Return the run's earlier directory, or a new one if there is none.

    Raises:
        StorageError: the folder is not writable, or the disk is full.
    """
    board = Path(output_dir) / memory.board if memory else None
    if board is None or not board.is_dir():
        return create_board(output_dir)
    forget_stop(board)
    return board


# --- scenes


def last_approved(store: Store, written: SceneBreakdown) -> SceneBreakdown | None:
    """Return the version of these scenes that was approved in an earlier run; None if there is none."""
    return store.get(APPROVED, _approved_key(written), SceneBreakdown)


def remember_approved(store: Store, written: SceneBreakdown, approved: SceneBreakdown) -> None:
    """Store the approved version of these scenes, so that a later run can show it.

    Raises:
        StorageError: the store can't be written.
    """
    store.put(APPROVED, _approved_key(written), approved)


def _approved_key(written: SceneBreakdown) -> str:
    """Return the key without the panels, which earlier versions did not have, so that their approvals are found."""
    return content_key(APPROVED, written=written.model_dump(mode="json", exclude={"scenes": {"__all__": {"panel"}}}))


def edits(written: SceneBreakdown, approved: SceneBreakdown) -> Iterator[str]:
    """Yield the names of the changed parts: "title", "cast", "scene 2 (action, place)"."""
    yield from (name for name in ("title", "cast") if getattr(written, name) != getattr(approved, name))
    for before, after in zip(written.scenes, approved.scenes, strict=True):
        changed = [name for name, value in before if name != "panel" and getattr(after, name) != value]
        changed += [name.replace("_", " ") for name, value in before.panel if getattr(after.panel, name) != value]
        if changed:
            yield f"scene {before.number} ({', '.join(changed)})"


# --- frames


def change_frames(
    wishes: Sequence[FrameWish],
    results: Sequence[FrameResult],
    changes: Changes,
    count_tokens: Callable[[str], int],
) -> Changes:
    """Return the earlier changes together with those of the new wishes.

    Args:
        wishes: the frames to paint again.
        results: the present frames.
        changes: the earlier changes.
        count_tokens: returns a text's length in the profile's tokens.

    Raises:
        InputError: a wish is invalid; the message gives the reason.
    """
    found = dict(changes)
    for wish in wishes:
        if wish.frame > len(results):
            raise InputError(f"frame {wish.frame}: the storyboard has frames 1 to {len(results)}")
        if [other.frame for other in wishes].count(wish.frame) > 1:
            raise InputError(f"frame {wish.frame} is named more than once; keep one")
        if wish.prompt is not None and (tokens := count_tokens(wish.prompt)) > MAX_TOKENS:
            raise InputError(
                f"frame {wish.frame}: the prompt has {tokens} tokens, at most {MAX_TOKENS} are allowed; shorten it"
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
            f"frame {wish.frame}: seed {seed} gives the present picture again; "
            "choose another seed or prompt, or leave the seed empty"
        )
    return FrameChange(seed=seed, prompt=wish.prompt or (earlier.prompt if earlier else None))


def reword(prompts: Sequence[FramePrompt], changes: Changes, count_tokens: Callable[[str], int]) -> list[FramePrompt]:
    """Return the prompts with the changed ones replaced."""

    def words(old: FramePrompt) -> FramePrompt:
        change = changes.get(old.number)
        if change is None or change.prompt is None:
            return old
        changed = {"prompt": change.prompt, "tokens": count_tokens(change.prompt), "cut": (), "by_hand": True}
        return old.model_copy(update=changed)

    return [words(prompt) for prompt in prompts]


def seeds_of(changes: Changes) -> dict[int, int]:
    """Return the chosen first seeds by frame number."""
    return {number: change.seed for number, change in changes.items()}


def starting_from(render_config: RenderConfig, number: int, seed: int | None) -> RenderConfig:
    """Return a render config in which this frame's first attempt has this seed."""
    if seed is None:
        return render_config
    return render_config.model_copy(update={"base_seed": seed - seed_of(0, number, 0)})


# --- what people read


def scenes_page(shown: SceneBreakdown, hours: int, *, again: bool) -> str:
    """Return the question about the scenes, as a page of markdown.

    Args:
        shown: the scenes.
        hours: hours until the run gives up waiting.
        again: whether the scenes were approved in an earlier run.
    """
    before = "These are the scenes as they were approved before. " if again else ""
    return (
        f"# The scenes\n\n{before}Submit the form unchanged to accept the scenes: frames are painted from them. Or "
        "write changes, one per line:\n\n"
        "    2 caption: He sleeps.\n    2 cast: the merchant, the khan\n    cast the khan: a khan in a white robe\n"
        "    2 shot size: CU\n    2 dialogue: Aldar: No. | the khan: Ten horses!\n"
        f"    title: The price of a nap\n\nEvery person in a scene must be in the cast. {_deadline(hours)}\n\n"
        f"{scenes_markdown(shown)}"
    )


def frames_page(page: str, hours: int) -> str:
    """Return the question about the frames, as a page of markdown.

    Args:
        page: contact sheet and report, in markdown.
        hours: hours until the run gives up waiting.
    """
    return (
        "# The frames\n\nSubmit the form with an empty list to accept all frames, or add the frames to paint again; "
        "the others stay unchanged.\n\n" + _deadline(hours) + "\n\n" + page
    )


def _deadline(hours: int) -> str:
    return f"The run waits {hours} hours for an answer, and then fails. Finished work is kept."


def with_problem(page: str, problem: str) -> str:
    """Return the page, preceded by the problem with the last answer, if any."""
    return f"**Not accepted:** {escape(problem)}\n\n{page}" if problem else page
