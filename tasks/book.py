"""A book's stages: read the stories, show progress, write the index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger

from models.book.index import INDEX_PAGE, Book, Chapter, book_markdown, write_index
from models.book.stories import open_book, read_stories, short
from models.settings import StoryboardOptions
from tasks.artifacts import show_page
from tasks.progress import Bar
from tasks.retries import RETRYING
from tasks.weights import find_weights


@task(name="stories", **RETRYING)
def begin_book(stories: Sequence[str] | None, file: str | None, options: StoryboardOptions) -> Book:
    """Create the book of these stories, with finished boards already found.

    Raises:
        InputError: there is no story, or the file is no text.
        StorageError: the file, the output directory or the LoRA can't be accessed.
    """
    book = open_book(read_stories(stories, file), options, lambda: find_weights(options))
    get_run_logger().info("%s before this run; the index is %s", book.progress(), Path(book.folder) / INDEX_PAGE)
    return book


@task(name="index", **RETRYING)
def finish_book(book: Book) -> None:
    """Write the index and show it in the dashboard."""
    write_index(book)
    show_page("storybook", book_markdown(book), book.progress())
    get_run_logger().info("%s; the index is %s", book.progress(), Path(book.folder) / INDEX_PAGE)


class Shown:
    """The book during its run: updates the index and the progress bar after each story."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.bar = Bar("stories", book.progress())
        self.bar.move(book.percent())

    def add(self, chapter: Chapter) -> None:
        """Add the chapter of a story that has ended."""
        self.book = self.book.with_chapter(chapter)
        write_index(self.book)
        self.bar.move(self.book.percent(), self.book.progress())
        what = chapter.directory if chapter.is_done else f"failed: {chapter.error}"
        get_run_logger().info("%s: “%s” %s", self.book.progress(), short(chapter.story), what)
