"""The stories of a book: from a list, a file, or both; and which of them still have to be told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from models.board.finished import Board, read_board
from models.book.index import Book, Chapter, create_book, find_boards, story_key, write_index
from models.errors import InputError, StoryboardError
from models.records import Weights
from models.settings import StoryboardOptions, read_story
from models.storage.files import local_errors

AtOnce = Annotated[int, Field(ge=1, le=64)]
"""How many runs of a deployment there may be at a time."""
SHOWN = 60
"""Characters of a story in a message."""
FILE_MAX = 10 * 2**20
"""Bytes of a file of stories; a larger one is something else."""


def read_stories(stories: Sequence[str] | None, file: str | None) -> tuple[str, ...]:
    """The stories of the list and then those of the file, each once, spaces tidied.

    Args:
        stories: one text a story.
        file: UTF-8 text with one story a line; blank lines and those that begin with # do not count.

    Raises:
        InputError: there is none, or the file is no UTF-8 text.
        StorageError: it cannot be read.
    """
    texts = [*(stories or ()), *(_lines(Path(file).expanduser()) if file else ())]
    unique = tuple(dict.fromkeys(text for text in (" ".join(text.split()) for text in texts) if text))
    if not unique:
        where = f"{file} has none" if file else "the list is empty"
        raise InputError(f"a story is needed, and {where}: give `stories`, or a `file` with one story a line")
    return unique


def _lines(file: Path) -> Iterable[str]:
    with local_errors(file):
        size = file.stat().st_size
        data = b"" if size > FILE_MAX else file.read_bytes()
    if size > FILE_MAX:
        raise InputError(f"{file}: {size} bytes are too many for a file of stories")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{file}: not UTF-8 text; save it as UTF-8 with one story a line") from None
    return (line for line in text.splitlines() if not line.lstrip().startswith("#"))


def open_book(stories: Sequence[str], options: StoryboardOptions, weights: Callable[[], Weights | None]) -> Book:
    """A new index, in which finished boards are found and stories that can't be told have failed.

    Args:
        stories: each once.
        options: of all storyboards.
        weights: what they would be painted with now; see `models.book.index.find_boards`.

    Raises:
        StorageError: the output directory cannot be read or written.
    """
    keys = {story: story_key(story, options) for story in stories}
    boards = {} if options.refresh else find_boards(options.output_dir, set(keys.values()), weights)
    chapters = tuple(_chapter(story, boards.get(keys[story])) for story in stories)
    book = Book(folder=str(create_book(options.output_dir)), chapters=chapters)
    write_index(book)
    return book


def _chapter(story: str, board: Board | None) -> Chapter:
    chapter = Chapter(story=story)
    if board is not None:
        return _with_board(chapter, board).model_copy(update={"state": "found"})
    try:
        read_story(story)
    except InputError as error:
        return failed(chapter, str(error))
    return chapter


def made(chapter: Chapter, directory: str | Path) -> Chapter:
    """The chapter with the board that was made for it; failed where that is not whole."""
    try:
        return _with_board(chapter, read_board(directory))
    except StoryboardError as error:
        return failed(chapter, str(error))


def _with_board(chapter: Chapter, board: Board) -> Chapter:
    report = board.report
    about = {"title": report.title, "directory": board.folder, "weak_frames": report.weak_frames}
    return chapter.model_copy(update={"state": "made", **about})


def failed(chapter: Chapter, error: str) -> Chapter:
    """The chapter without a board, and why, in one line."""
    return chapter.model_copy(update={"state": "failed", "error": " ".join(error.split())})


def require_all(book: Book) -> None:
    """Go on only if every story has its board.

    Raises:
        StoryboardError: names those that have not.
    """
    if book.failed:
        told = "; ".join(f"“{short(chapter.story)}”: {chapter.error}" for chapter in book.failed)
        raise StoryboardError(f"{len(book.failed)} of {len(book.chapters)} stories failed: {told}")


def short(story: str) -> str:
    """A story as a message repeats it."""
    return story if len(story) <= SHOWN else f"{story[:SHOWN]}…"
