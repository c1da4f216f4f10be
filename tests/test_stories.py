"""The stories of a book from a list or a file, the pages of its index, and its command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from book_runs import TALES

from flows.commands.storybook import parse
from models.book.index import Book, Chapter, book_markdown, write_index
from models.book.stories import read_stories
from models.errors import InputError, StoryboardError
from models.settings import StoryboardOptions


def test_a_file_has_a_story_a_line(tmp_path: Path) -> None:
    file = tmp_path / "tales.txt"
    file.write_bytes("\ufeff# of old\r\n\r\nАлдар  Көсе\r\n  # more\n\tA tale\nАлдар Көсе\n".encode())
    assert read_stories(None, str(file)) == ("Алдар Көсе", "A tale")
    assert read_stories(["A tale", " One "], str(file)) == ("A tale", "One", "Алдар Көсе")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"# nothing\n\n", "a story is needed, and "),
        ("Көсе".encode("utf-16"), "not UTF-8 text; save it as UTF-8 with one story a line"),
        (b"a" * (10 * 2**20 + 1), "10485761 bytes are too many for a file of stories"),
    ],
    ids=["empty", "UTF-16", "large"],
)
def test_a_file_that_holds_no_stories(tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "tales.txt"
    file.write_bytes(data)
    with pytest.raises(InputError, match=re.escape(words)):
        read_stories(None, str(file))


def test_no_story_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the list is empty"):
        read_stories([" "], None)
    with pytest.raises(StoryboardError, match="no such file or folder"):
        read_stories(None, str(tmp_path / "gone.txt"))


def test_a_title_is_only_text_in_the_index(tmp_path: Path) -> None:
    chapter = Chapter(story="<b>|Алдар", state="failed", error="a | b")
    book = Book(folder=str(tmp_path), chapters=(chapter,))
    write_index(book)
    assert "&lt;b&gt;|Алдар" in (tmp_path / "index.html").read_text("utf-8")
    assert "| \\<b\\>\\|Алдар | failed | a \\| b |" in book_markdown(book)


# --- the command line


def test_the_command_line_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "tales.txt"
    file.write_text(TALES[0], "utf-8")
    assert parse([str(file), "--frames", "2"]) == ([], str(file), StoryboardOptions(frames=2), None, 1)
    pooled = ["--story", TALES[1], "--story", TALES[2], "--deployment", "storyboard/gpu", "--at-once", "4"]
    assert parse(pooled) == (TALES[1:], None, StoryboardOptions(), "storyboard/gpu", 4)
    assert parse(pooled).options.model_fields_set == set()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "a story is needed, and the list is empty"),
        (["gone.txt"], "gone.txt: no such file or folder"),
        (["a.txt", "b.txt"], "only one file of stories is expected, got 'b.txt' too; give a story with --story"),
        (["--story", "x", "--sketches", "2=a.png"], "unknown option --sketches"),
        (["--story", "x", "--frame", "2"], "unknown option --frame; did you mean --frames?"),
        (["--story", "x", "--frames", "99"], "--frames: Input should be less than or equal to 24, got '99'"),
        (["--story", "x", "--at-once", "2"], "--at-once 2 needs --deployment"),
        (["--story", "x", "--at-once", "0"], "--at-once: Input should be greater than or equal to 1, got '0'"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {words}")
