"""A book of stories: which there are, how far it has come, and its index."""

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
    """The stories, those found finished among them, in a new index.

    Raises:
        InputError: there is no story, or the file is no text.
        StorageError: the file cannot be read, the output directory not written, or the LoRA not reached.
    """
    book = open_book(read_stories(stories, file), options, lambda: find_weights(options))
    get_run_logger().info("%s before this run; the index is %s", book.progress(), Path(book.folder) / INDEX_PAGE)
    return book


@task(name="index", **RETRYING)
def finish_book(book: Book) -> None:
    """The whole index, on disk and in the dashboard."""
    write_index(book)
    show_page("storybook", book_markdown(book), book.progress())
    get_run_logger().info("%s; the index is %s", book.progress(), Path(book.folder) / INDEX_PAGE)


class Shown:
    """The book as it grows: each story that ends moves the progress, and the index tells of it."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.bar = Bar("stories", book.progress())
        self.bar.move(book.percent())

    def add(self, chapter: Chapter) -> None:
        """Note a story that has ended."""
        self.book = self.book.with_chapter(chapter)
        write_index(self.book)
        self.bar.move(self.book.percent(), self.book.progress())
        what = chapter.directory if chapter.is_done else f"failed: {chapter.error}"
        get_run_logger().info("%s: “%s” %s", self.book.progress(), short(chapter.story), what)
