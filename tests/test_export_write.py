"""Exports are written into the board's folder `exports`, whole or not at all; the board itself is only read."""

from __future__ import annotations

import errno
import logging
import threading
from pathlib import Path
from typing import get_args

import pytest
from waiting import until
from written_boards import write_board

from models.board.finished import changing, read_board
from models.errors import InputError, StorageError
from models.export.forms import FORMS, Form
from models.export.options import ExportOptions
from models.export.panels import ExportBoard
from models.export.write import write_exports
from models.option_types import ExportForm


def options(forms: str, **given: object) -> ExportOptions:
    return ExportOptions.model_validate({"forms": forms, **given})


def content(board: Path) -> dict[str, bytes]:
    """The files of the board itself."""
    return {path.name: path.read_bytes() for path in board.iterdir() if path.is_file()}


def test_all_forms_are_written_and_the_board_stays_as_it_was(tmp_path: Path) -> None:
    board = write_board(tmp_path, width=96, height=64)
    before = content(board)
    exported = write_exports(board, options(",".join(FORMS)))
    assert exported.folder == str(board / "exports")
    assert sorted(path.name for path in (board / "exports").iterdir()) == sorted(exported.files)
    assert len(exported.files) == len(get_args(ExportForm))
    assert [warning.partition("'")[0] for warning in exported.warnings] == ["ViStoryBench"]  # nobody looked for him
    assert content(board) == before
    read_board(board)


def test_a_second_export_replaces_the_first_and_leaves_other_forms(tmp_path: Path) -> None:
    board = write_board(tmp_path, width=96, height=64)
    write_exports(board, options("srt,csv"))
    (board / "exports" / "storyboard.srt").write_text("old")
    assert write_exports(board, options("srt")).files == ("storyboard.srt",)
    assert (board / "exports" / "storyboard.srt").read_text().startswith("1\n00:00:00,000")
    assert (board / "exports" / "storyboard.csv").is_file()


def test_a_full_disk_is_one_line_and_the_earlier_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = write_board(tmp_path, width=96, height=64)
    write_exports(board, options("srt"))
    before = (board / "exports" / "storyboard.srt").read_bytes()

    def full(_: ExportBoard, __: ExportOptions, file: Path) -> tuple[str, ...]:
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(FORMS, "srt", Form("storyboard.srt", "", full))
    with pytest.raises(StorageError, match=r"exports/storyboard\.srt: no space left to write it; free some disk"):
        write_exports(board, options("srt"))
    assert [path.name for path in (board / "exports").iterdir()] == ["storyboard.srt"]
    assert (board / "exports" / "storyboard.srt").read_bytes() == before


@pytest.mark.parametrize(
    ("harm", "says"), [("report.json", "no finished storyboard"), ("frame_002.png", "no such file"), (None, "changed")]
)
def test_a_board_that_is_not_whole_is_refused(harm: str | None, says: str, tmp_path: Path) -> None:
    board = write_board(tmp_path, width=96, height=64)
    (board / (harm or "frame_002.png")).unlink()
    if harm is None:
        (board / "frame_002.png").write_bytes((board / "frame_001.png").read_bytes())
    with pytest.raises((InputError, StorageError), match=says) as no:
        write_exports(board, options("srt"))
    assert "\n" not in str(no.value)
    assert not (board / "exports").exists()


def test_a_folder_that_is_none_is_refused_and_gets_no_lock(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder; a storyboard's directory"):
        write_exports(tmp_path / "none", options("srt"))
    assert list(tmp_path.iterdir()) == []


def test_an_export_waits_for_a_redo(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    board, done = write_board(tmp_path, width=96, height=64), list[str]()
    exporting = threading.Thread(target=lambda: done.extend(write_exports(board, options("srt")).files))
    with caplog.at_level(logging.WARNING), changing(board) as folder:
        exporting.start()
        until(lambda: f"waiting for {board}, which is being changed by " in caplog.text)
        (folder / "note.txt").write_text("redone", "utf-8")
        assert done == []
    exporting.join()
    assert done == ["storyboard.srt"]
    assert (board / "note.txt").is_file()
    assert (board / "exports" / "storyboard.srt").is_file()


@pytest.mark.parametrize("wrong", ["docx", "pdf,docx", ["pdf", "DOCX"]])
def test_an_unknown_form_lists_the_valid_ones(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"there is no form '(docx|DOCX)'; valid forms: pdf, html, xlsx, csv, srt"):
        ExportOptions.model_validate({"forms": wrong})


@pytest.mark.parametrize("given", ["srt, pdf ,srt", ["srt", "pdf"], ["srt,pdf"], '["srt", "pdf"]'])
def test_forms_are_given_with_commas_or_as_a_list(given: object) -> None:
    assert ExportOptions.model_validate({"forms": given}).forms == ("srt", "pdf")
