"""The flow that exports a board, the storyboard's own exports, and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from flow_runs import Ran, Stage
from redo_runs import redo, refused
from written_boards import write_board

from flows.commands.export import parse
from flows.export import export_board
from models.board.finished import read_board
from models.export.archive import unpack_board
from models.export.options import ExportOptions


def export(board: Path | str, forms: str) -> Ran:
    state = export_board(str(board), ExportOptions.model_validate({"forms": forms}), return_state=True)
    return Ran(state, Path(board).parent)


@pytest.fixture
def board(prefect_server: str, tmp_path: Path) -> Path:
    return write_board(tmp_path / "outputs", width=96, height=64)


def test_a_board_is_exported_and_the_dashboard_says_where(board: Path) -> None:
    ran = export(board, "srt,csv")
    assert ran.board == board / "exports"
    assert sorted(path.name for path in ran.board.iterdir()) == ["storyboard.csv", "storyboard.srt"]
    assert ran.flow_run().name == f"export of {board.name}"
    assert str(ran.state.message) == "exported: storyboard.srt, storyboard.csv"
    page = str(ran.artifacts()["exports"].data)
    assert str(ran.board) in page
    assert "| `storyboard.srt` | subtitles for players and editors |" in page
    assert set(ran.task_runs("export")) == {"export"}


def test_what_a_font_lacks_is_one_warning_in_log_and_dashboard(
    prefect_server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ran = export(write_board(tmp_path, story="阿尔达", width=96, height=64), "pdf,srt")
    said = "The PDF lacks characters that no font here has (阿尔达)."
    assert [record.getMessage()[: len(said)] for record in caplog.records if record.levelname == "WARNING"] == [said]
    assert "The PDF lacks characters" in str(ran.artifacts()["exports"].data)


@pytest.mark.parametrize("named", ["none", "unfinished"])
def test_a_board_that_is_none_fails_in_one_line(named: str, board: Path) -> None:
    (board / "report.json").unlink()
    line = refused(export(board if named == "unfinished" else board / "none", "srt"))
    assert ("no finished storyboard" if named == "unfinished" else "no such folder") in line


def test_a_storyboard_is_exported_when_it_is_finished(stage: Stage) -> None:
    ran = stage.run(frames=2, export="zip,html,pdf")
    exports = ran.board / "exports"
    assert sorted(path.name for path in exports.iterdir()) == ["index.html", "storyboard.pdf", "storyboard.zip"]
    assert ran.report.options.export == ("zip", "html", "pdf")
    again = unpack_board(exports / "storyboard.zip", stage.output / "again")
    assert read_board(again).report == ran.report
    assert (again / "exports" / "index.html").read_bytes() == (exports / "index.html").read_bytes()
    assert (again / "recipes" / "frame_002.json").is_file()


def test_an_exported_board_is_redone_and_exported_again_with_its_take(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    (board,) = stage.boards()
    before = (export(board, "html").board / "index.html").read_text("utf-8")
    redo(board, 2)
    assert (board / "exports" / "index.html").read_text("utf-8") == before  # of the board as it was
    after = (export(board, "html").board / "index.html").read_text("utf-8")
    assert "Earlier takes (1)" not in before
    assert "Earlier takes (1)" in after


# --- the command line


def refused_by_the_command(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        parse(list(arguments))
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("error: ").rstrip("\n")


def test_the_command_understands_its_options() -> None:
    given = ["B", "--as", "pdf,srt", "--paper", "Letter", "--orientation", "portrait", "--panels-per-page", "12"]
    asked = parse(given)
    assert asked.board == "B"
    expected = {"forms": ("pdf", "srt"), "paper": "Letter", "orientation": "portrait", "panels_per_page": 12}
    assert asked.options.model_dump(include=set(expected)) == expected
    assert parse(["B"]).options.forms == ("pdf", "html")
    assert parse(["B", "--as", "pdf", "--as=srt,pdf"]).options.forms == ("pdf", "srt")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "a storyboard is needed: python -m flows.export FOLDER --as pdf,html"),
        (["B", "--as", "docx"], "--as: there is no form 'docx'; valid forms: pdf, html, xlsx, csv, srt, vtt, mp4,"),
        (["B", "--as", ","], "--as: name at least one form; valid forms: pdf, html, xlsx, csv, srt, vtt, mp4,"),
        (["B", "--paper", "A3"], "--paper: Input should be 'A4' or 'Letter', got 'A3'"),
        (["B", "--panels-per-page", "13"], "--panels-per-page: Input should be less than or equal to 12, got '13'"),
        (["B", "C"], "only one board is expected, got 'C' too; give forms with --as pdf,html"),
        (["B", "--panels-a-page", "3"], "unknown option --panels-a-page; did you mean --panels-per-page?"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused_by_the_command(capsys, arguments).startswith(line)
