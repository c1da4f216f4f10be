"""What goes wrong when a frame is redone leaves the old board whole, and is told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redo_runs
from flow_runs import Ran
from PIL import Image
from redo_runs import WORDS, files, redo, refused, report_of

import flows.redo_frame
import tasks.checks
from flows.commands.redo_frame import main, parse
from models.board.directory import write_json
from models.errors import StorageError
from models.redo import replace
from models.redo.plan import RedoOptions

board = redo_runs.board


@pytest.mark.parametrize("name", ["sdxl_prompts.json", "report.json"])
def test_a_write_that_fails_leaves_the_old_board_whole(
    board: Path, told: Ran, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write = write_json

    def full(folder: Path, file: str, value: Any) -> Path:
        if file == name:
            raise StorageError("no space left")
        return write(folder, file, value)

    with monkeypatch.context() as patch:
        patch.setattr(replace, "write_json", full)
        assert refused(redo(board, 4)) == "no space left"
    assert files(board) == files(told.board)
    assert not board.with_name(f".{board.name}.new").exists()
    assert redo(board, 4).report.frames[3].painted == 0  # it is in the store


def test_a_rename_that_fails_puts_the_old_board_back(board: Path, told: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise OSError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    assert "permission denied" in refused(redo(board, 4))
    assert files(board) == files(told.board)


def test_who_is_killed_between_the_renames_leaves_a_board_that_comes_back(board: Path, told: Ran) -> None:
    board.rename(board.with_name(f".{board.name}.old"))
    (board.with_name(f".{board.name}.new") / "takes").mkdir(parents=True)
    assert redo(board, 4).report.frames[3].seed == 4052
    assert files(board)["takes/frame_004_take1.png"] == files(told.board)["frame_004.png"]
    assert sorted(path.name for path in board.parent.glob(".*")) == [".store", f".{board.name}.lock"]


def test_frames_redone_at_the_same_time_are_both_kept(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = tasks.checks.check

    def meanwhile(*given: Any) -> Any:
        monkeypatch.setattr(flows.redo_frame, "check", check)
        redo(board, 3)
        return check(*given)

    monkeypatch.setattr(flows.redo_frame, "check", meanwhile)
    report = redo(board, 4).report
    assert [frame.seed for frame in report.frames] == [42, 2042, 3052, 4052, 5042, 6042]


def test_a_reference_that_was_redone_meanwhile_is_noticed(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = tasks.checks.check

    def meanwhile(*given: Any) -> Any:
        monkeypatch.setattr(flows.redo_frame, "check", check)
        redo(board, 1)
        return check(*given)

    monkeypatch.setattr(flows.redo_frame, "check", meanwhile)
    assert refused(redo(board, 4)) == "frame 4: frame 1 was redone meanwhile; redo frame 4 again"
    assert report_of(board).frames[3].seed == 4042


def test_a_frame_that_is_not_there(board: Path) -> None:
    assert refused(redo(board, 7)) == f"frame 7: the storyboard in {board} has frames 1 to 6"


def test_what_is_no_finished_board(board: Path, tmp_path: Path) -> None:
    assert refused(redo(tmp_path / "nowhere", 1)).startswith(f"{tmp_path / 'nowhere'}: no such folder; a storyboard's")
    (board / "report.json").unlink()
    assert refused(redo(board, 1)) == f"{board}: no finished storyboard, which has a report.json"
    (board / "report.json").write_text('{"story": 1}')
    assert refused(redo(board, 1)).startswith(f"{board / 'report.json'}: story: ")
    unknown = "0199f6cc-52b3-7c3f-9c8e-6d5a2f0e8b41"
    assert refused(redo(unknown, 1)).startswith(f"flow run {unknown}: has no finished storyboard")


def test_a_board_that_was_changed_by_hand(board: Path) -> None:
    Image.open(board / "frame_003.png").convert("L").save(board / "frame_003.png")
    assert refused(redo(board, 4)).startswith(f"{board / 'frame_003.png'}: changed after it was painted; ")


def test_other_weights_are_refused_by_name(board: Path, told: Ran) -> None:
    report = report_of(board)
    other = report.weights.model_copy(update={"base": "0" * 64, "clip": "1" * 64})
    text = report.model_copy(update={"weights": other}).model_dump_json()
    (board / "report.json").write_text(text)
    assert refused(redo(board, 4)).startswith("the board was painted with other weights (base, clip changed since)")
    assert (board / "frame_004.png").read_bytes() == (told.board / "frame_004.png").read_bytes()


def test_a_prompt_that_is_too_long_or_changes_nothing(board: Path, told: Ran) -> None:
    assert refused(redo(board, 4, prompt="camel " * 90)).startswith("prompt: ")
    same = told.report.frames[3].prompt
    assert refused(redo(board, 4, prompt=same)).startswith("frame 4: seed 4042 gives the present picture again; ")
    assert files(board) == files(told.board)


# --- the command line


def test_the_command_line_says_the_same() -> None:
    assert parse(["a/board", "4"]) == ("a/board", 4, RedoOptions())
    given = ["--prompt", WORDS, "--seed=7", "--sketch", "a.png", "--attempts", "2", "--device", "cpu"]
    options = RedoOptions(prompt=WORDS, seed=7, sketch="a.png", attempts=2, device="cpu")
    assert parse([*given, "a/board", "4"]) == ("a/board", 4, options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "a board and a frame's number are needed: python -m flows.redo_frame FOLDER 4"),
        (["board"], "a board and a frame's number are needed"),
        (["board", "first"], "frame: expected a number from 1 to 24, got 'first'"),
        (["board", "0"], "frame: expected a number from 1 to 24, got '0'"),
        (["board", "1", "2"], "only a board and a frame's number are expected, got '2' too"),
        (["--", "board", "1", "--seed", "2"], "--seed comes after --, where options are not allowed"),
        (["board", "1", "--promt", "x"], "unknown option --promt; did you mean --prompt?"),
        (["board", "1", "--seed", "x"], "--seed: Input should be a valid integer"),
        (["board", "1", "--prompt", " "], "--prompt: String should have at least 1 character"),
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


def test_a_failed_run_ends_with_its_words_and_code_1(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(board), "9"])
    assert stopped.value.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: frame 9: the storyboard in {board} has frames 1 to 6"
