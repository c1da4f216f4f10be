"""The stories of a book: read from a list, a file or both, and matched with finished boards."""

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
"""Largest number of simultaneous runs of a deployment."""
SHOWN = 60
"""Largest number of a story's characters in a message."""
FILE_MAX = 10 * 2**20
"""Largest size of a file of stories in bytes; a larger file is probably no text."""


def read_stories(stories: Sequence[str] | None, file: str | None) -> tuple[str, ...]:
    """Return the list's and then the file's stories, without duplicates and repeated spaces.

    Args:
        stories: one text per story.
        file: UTF-8 text with one story per line; blank lines and those that begin with # are skipped.

    Raises:
        InputError: there is no story, or the file is no UTF-8 text.
        StorageError: the file can't be read.
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
    """Create a book whose finished boards are marked as found and whose invalid stories as failed, and write its index.

    Args:
        stories: without duplicates.
        options: options of all storyboards.
        weights: returns the weights of a new board; see `models.book.index.find_boards`.

    Raises:
        StorageError: the output directory can't be read or written.
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
    """Return the chapter with its new board; failed if the board is not intact."""
    try:
        return _with_board(chapter, read_board(directory))
    except StoryboardError as error:
        return failed(chapter, str(error))


def _with_board(chapter: Chapter, board: Board) -> Chapter:
    report = board.report
    about = {"title": report.title, "directory": board.folder, "weak_frames": report.weak_frames}
    return chapter.model_copy(update={"state": "made", **about})


def failed(chapter: Chapter, error: str) -> Chapter:
    """Return the chapter as failed, with the error in one line."""
    return chapter.model_copy(update={"state": "failed", "error": " ".join(error.split())})


def require_all(book: Book) -> None:
    """Refuse a book with failed stories.

    Raises:
        StoryboardError: names the failed stories and their errors.
    """
    if book.failed:
        errors = "; ".join(f"“{short(chapter.story)}”: {chapter.error}" for chapter in book.failed)
        raise StoryboardError(f"{len(book.failed)} of {len(book.chapters)} stories failed: {errors}")


def short(story: str) -> str:
    """Return a story shortened for a message."""
    return story if len(story) <= SHOWN else f"{story[:SHOWN]}…"
