"""What commands print is safe for every terminal: its letters, its control characters, and nobody who reads."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from pathlib import Path

import pytest

from flows.commands import redo_frame, running, starting, storyboard, storybook, training
from flows.logs import prepare_logs
from flows.terminal import last_words, printable, say, say_place


def terminal(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def shown(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1251", "utf-8"])
@pytest.mark.parametrize("command", [storyboard, redo_frame, storybook, training])
def test_the_help_is_printed_whatever_the_terminal_can_show(command: object, encoding: str) -> None:
    stream = terminal(encoding)
    command.COMMAND.parser().print_help(stream)  # type: ignore[attr-defined]
    text = shown(stream)
    assert "exit codes: " in text.lower()
    if command is storyboard:
        assert ("Aldar Köse" if encoding in ("utf-8", "latin-1") else r"Aldar K\xf6se") in text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("red \x1b[31m, a bell \a, back \b\r", r"red \x1b[31m, a bell \x07, back \x08\r"),
        ("another ESC \x9b31m, \x7f", r"another ESC \x9b31m, \x7f"),
        ("turned \u202eround\u2069", r"turned \u202eround\u2069"),
        ("Алдар Көсе 🐫\ttab\nline", "Алдар Көсе 🐫\ttab\nline"),
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text: str, safe: str) -> None:
    assert printable(text) == safe
    stream = terminal("utf-8")
    say(text, stream)
    assert shown(stream) == f"{safe}\n"
    prepare_logs()
    record = logging.getLogger("models").makeRecord("models", logging.INFO, "", 0, "told: %s", (text,), None)
    assert record.getMessage() == f"told: {safe}"


def test_letters_that_a_terminal_lacks_and_bytes_that_are_no_letters_are_escaped() -> None:
    stream = terminal("latin-1")
    say("Көсе, Köse, \udcff", stream)
    assert shown(stream) == "\\u041a\\u04e9\\u0441\\u0435, Köse, \\udcff\n"


def test_a_program_is_given_the_very_bytes_of_a_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = os.fsdecode(b"boards/K\xc3\xb6se\xff")
    with (tmp_path / "out").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        say_place(place)
    assert (tmp_path / "out").read_bytes() == b"boards/K\xc3\xb6se\xff\n"


def test_a_place_that_can_not_be_printed_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(starting, "start", lambda *_, **__: None)
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)  # so that Ctrl-C stays what it is
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            running.run(running.Run("posixpath:join", ("boards", "one"), "", lambda: None))
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said == "error: stdout can't be written: no space left on device; the run succeeded; see boards/one\n"


def test_last_words_are_the_last_error_that_is_named() -> None:
    log = "Traceback:\n  File\nsqlite3.DatabaseError: file is not a database\n\nApplication startup failed."
    assert last_words(log) == "sqlite3.DatabaseError: file is not a database"
    assert last_words("one\ntwo\n") == "two"
    assert last_words("error: mend it\nExiting\n") == "mend it"
    assert last_words(" \n") == "its log is empty"
