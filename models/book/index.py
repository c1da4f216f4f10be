"""A book: the storyboards of many stories, and an index of them.

    outputs/storybook_20251019_052851/
        index.html       each story with its contact sheet
        index.json       the same for programs

The index is rewritten after every story, so that it shows the book's progress. A finished board is used again for a
story if its report has the same story and options, and the same weights and settings as a new board would have.
"""

from __future__ import annotations

import functools
import html
import itertools
import logging
import os
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from models.board.directory import PREFIX, REPORT_FILE, write_json
from models.board.finished import Board, put_back, read_board
from models.board.markdown import code, escape
from models.board.pages import CONTACT_SHEET
from models.board.report import Report
from models.errors import StoryboardError
from models.frames.render_config import render_settings
from models.records import Record, Weights
from models.settings import StoryboardOptions
from models.storage.content_store import content_key
from models.storage.files import local_errors, write_atomically

logger = logging.getLogger(__name__)

BOOK_PREFIX = "storybook_"
INDEX_PAGE, INDEX_DATA = "index.html", "index.json"
NO_MATTER = {"output_dir", "refresh", "device", "batch_size", "low_memory", "review", "export", "painters", "queue"}
"""Options that do not change the storyboard."""

State = Literal["waiting", "made", "found", "failed"]


class Chapter(Record):
    """One story of the book."""

    story: str
    state: State = "waiting"
    """made: by this book. found: it existed, finished and intact."""
    title: str | None = None
    directory: str | None = None
    """Absolute path of its board."""
    weak_frames: tuple[int, ...] = ()
    error: str | None = None
    """One line."""

    @property
    def is_done(self) -> bool:
        """Whether the story has a board."""
        return self.state in ("made", "found")


class Book(Record):
    """All stories in the given order."""

    folder: str
    """Absolute path of the index's folder."""
    chapters: tuple[Chapter, ...]

    @property
    def failed(self) -> tuple[Chapter, ...]:
        """The chapters that failed."""
        return tuple(chapter for chapter in self.chapters if chapter.state == "failed")

    def progress(self) -> str:
        """Return the progress in words: "3 of 5 stories done, 1 failed"."""
        done = sum(chapter.is_done for chapter in self.chapters)
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{done} of {len(self.chapters)} stories done{failed}"

    def percent(self) -> float:
        """Return the percentage of stories that are made, found or failed, 0..100."""
        return 100 * sum(chapter.state != "waiting" for chapter in self.chapters) / len(self.chapters)

    def with_chapter(self, new: Chapter) -> Book:
        """Return the book with this chapter instead of the one of the same story."""
        chapters = tuple(new if chapter.story == new.story else chapter for chapter in self.chapters)
        return self.model_copy(update={"chapters": chapters})


def story_key(story: str, options: StoryboardOptions) -> str:
    """Return a hash of the story and of all options that decide the pictures."""
    return content_key("storyboards", story=story, options=options.model_dump(mode="json", exclude=NO_MATTER))


def find_boards(
    output_dir: str | Path, keys: Collection[str], weights: Callable[[], Weights | None]
) -> dict[str, Board]:
    """Return for each key its newest finished and intact board; other boards are logged and left out.

    Args:
        output_dir: folder of all boards.
        keys: the stories' keys, by `story_key`.
        weights: returns the weights of a new board, or None if they are unknown; then no board is used. Called at most
            once, and only if there are boards.
    """
    now = functools.cache(weights)
    found: dict[str, Board] = {}
    for hidden in Path(output_dir).glob(f".{PREFIX}*.old"):  # a redo was killed
        put_back(hidden.with_name(hidden.name[1:-4]).absolute())
    for folder in sorted(Path(output_dir).glob(f"{PREFIX}*"), key=_age):
        report = _report_in(folder)
        key = "" if report is None else story_key(report.story, report.options)
        if report is None or key not in keys or key in found or not _painted_with(now(), report, folder):
            continue
        try:
            found[key] = read_board(folder)
        except StoryboardError as error:
            logger.warning("a finished storyboard is not used, and is made again: %s", error)
    return found


def _age(folder: Path) -> float:
    return -folder.stat().st_mtime


def _report_in(folder: Path) -> Report | None:
    """Return the report of the board in this folder; None if it is missing or unreadable."""
    try:
        return Report.model_validate_json((folder / REPORT_FILE).read_bytes())
    except (OSError, ValueError):
        return None


def _painted_with(weights: Weights | None, report: Report, folder: Path) -> bool:
    """Whether a new board would have the same weights and settings; unset options take the profile's current values."""
    if weights is None:
        return False
    changed = report.weights.unlike(weights)
    if report.render_config is not None and not changed:
        before = report.render_config.settings()
        now = render_settings(report.options, report.options.get_profile()).settings()
        changed = ", ".join(name for name, value in before.items() if value != now[name])
    if changed:
        logger.info("%s is not used: %s changed since it was painted", folder, changed)
    return not changed


def create_book(output_dir: str | Path, now: datetime | None = None) -> Path:
    """Create a new folder for this book's index, and return its path.

    Raises:
        StorageError: the folder is not writable, or the disk is full.
    """
    name = f"{BOOK_PREFIX}{now or datetime.now():%Y%m%d_%H%M%S}"
    names = itertools.chain([name], (f"{name}_{count}" for count in itertools.count(2)))
    parent = Path(output_dir).absolute()
    with local_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        for folder in (parent / name for name in names):
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    raise AssertionError("names do not end")


def write_index(book: Book) -> None:
    """Write the book's index.

    Raises:
        StorageError: its folder can't be written.
    """
    folder = Path(book.folder)
    write_json(folder, INDEX_DATA, book)
    write_atomically(folder / INDEX_PAGE, "\n".join(_page(book)).encode())


def _page(book: Book) -> Iterator[str]:
    yield '<!doctype html>\n<html><head><meta charset="utf-8"><title>Storybook</title>'
    yield "<style>"
    yield "body { font-family: sans-serif; background: #faf6ed; color: #2e2722; max-width: 70rem; margin: 2rem auto }"
    yield "img { width: 100% } .failed { color: #b04628 }</style></head><body>"
    yield f"<h1>Storybook</h1>\n<p>{html.escape(book.progress())}</p>"
    for chapter in book.chapters:
        yield from _section(chapter, Path(book.folder))
    yield "</body></html>\n"


def _section(chapter: Chapter, folder: Path) -> Iterator[str]:
    yield f"<section>\n<h2>{html.escape(chapter.title or chapter.story)}</h2>"
    if chapter.title and chapter.title != chapter.story:
        yield f"<p>{html.escape(chapter.story)}</p>"
    if chapter.directory is None:
        yield f'<p class="{chapter.state}">{html.escape(chapter.error or chapter.state)}</p>'
    else:
        board = quote(os.path.relpath(chapter.directory, folder))
        name = html.escape(Path(chapter.directory).name)
        yield f'<p><a href="{board}/">{name}</a>, {chapter.state}{_weak(chapter)}</p>'
        yield f'<a href="{board}/{CONTACT_SHEET}"><img src="{board}/{CONTACT_SHEET}" alt="contact sheet"></a>'
    yield "</section>"


def _weak(chapter: Chapter) -> str:
    return f"; weak frames: {', '.join(map(str, chapter.weak_frames))}" if chapter.weak_frames else ""


def book_markdown(book: Book) -> str:
    """Return the index as markdown, because a dashboard can't show local files."""
    rows = (
        f"| {escape(chapter.title or chapter.story)} | {chapter.state}{_weak(chapter)} | "
        f"{code(chapter.directory) if chapter.directory else escape(chapter.error or '')} |"
        for chapter in book.chapters
    )
    index = code(str(Path(book.folder) / INDEX_PAGE))
    head = (f"# {book.progress()}\n", f"Index: {index}\n", "| story | state | where |")
    return "\n".join((*head, "| --- | --- | --- |", *rows)) + "\n"
