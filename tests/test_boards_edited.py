"""A board whose files somebody edited by hand is refused in one line that names the file and what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from written_boards import STORY, WEIGHTS, edit, options_of, write_board

from models.board.finished import read_board
from models.book.stories import open_book
from models.errors import InputError, ObjectNotFound
from models.redo.plan import RedoOptions, plan_redo

Change = Callable[[Any], object]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of three frames, left as it is."""
    return write_board(tmp_path_factory.mktemp("written"))


@pytest.fixture
def board(written: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(written, tmp_path / written.name)


def second(change: Change) -> Change:
    """A change of the second frame."""
    return lambda report: change(report["frames"][1])


REPORT: dict[str, tuple[Change, str]] = {
    "a candidate's sha256": (
        second(lambda frame: frame["candidates"][0].update(sha256="0" * 64)),
        "frame 2: none of its candidates has its sha256; it was changed by hand: bring the file back",
    ),
    "no candidates": (second(lambda frame: frame.update(candidates=[])), "frame 2: has no candidates"),
    "no frames": (lambda report: report.update(frames=[]), "its frames must be numbered 1 to 3 in order, got []"),
    "frames reversed": (
        lambda report: report["frames"].reverse(),
        "its frames must be numbered 1 to 3 in order, got [3, 2, 1]",
    ),
    "no frames at all": (lambda report: report.update(frames=[], num_frames=0), "its frames must be numbered 1 to 0"),
    "a frame twice": (
        lambda report: report["frames"].__setitem__(1, report["frames"][0]),
        "its frames must be numbered 1 to 3 in order, got [1, 1, 3]",
    ),
    "another count": (lambda report: report.update(num_frames=7), "its frames must be numbered 1 to 7 in order"),
    "a frame's number": (second(lambda frame: frame.update(number=5)), "its frames must be numbered 1 to 3"),
    "a seed": (second(lambda frame: frame.update(seed=7)), "frame 2: seed is 7, its candidates say 2042"),
    "a verdict": (second(lambda frame: frame.update(accepted=False)), "frame 2: accepted is False"),
    "a score": (second(lambda frame: frame.update(prompt_score=0.9)), "frame 2: prompt_score is 0.9"),
    "a count of attempts": (second(lambda frame: frame.update(attempts=9)), "frame 2: attempts is 9"),
    "a second reference": (second(lambda frame: frame.update(reference=True)), "frame 2: reference is True"),
    "a path": (second(lambda frame: frame.update(file="../../etc/passwd")), "frame 2: its file must be frame_002.png"),
    "a scene's number": (second(lambda frame: frame["scene"].update(number=3)), "frame 2: its scene has the number 3"),
    "a weak frame": (lambda report: report.update(weak_frames=[9]), "weak_frames is (9,), its frames give ()"),
    "an average": (lambda report: report.update(average_consistency=0.1), "average_consistency is 0.1"),
    "the least": (lambda report: report.update(min_consistency=None), "min_consistency is None"),
    "the base seed": (lambda report: report.update(base_seed=1), "base_seed is 1, its options say 42"),
    "the profile": (lambda report: report.update(profile="sdxl"), "profile is 'sdxl', its options say 'steppe'"),
    "the pipeline": (lambda report: report.update(pipeline="simplified"), "pipeline is 'simplified'"),
    "a threshold": (lambda report: report.update(threshold=7), "threshold: Input should be less than or equal to 1"),
    "no number": (lambda report: report.update(threshold=float("nan")), "threshold: Input should be less"),
    "a negative seed": (lambda report: report["options"].update(seed=-1), "options.seed: Input should be greater"),
    "a wrong type": (second(lambda frame: frame.update(candidates={})), "frames.1.candidates: Input should be"),
    "an unknown key": (lambda report: report.update(colour="red"), "colour: Extra inputs are not permitted"),
    "the render_config": (
        lambda report: report["render_config"].update(steps="many"),
        "render_config.steps: Input should be a",
    ),
    "a take that leads elsewhere": (
        second(lambda frame: frame["takes"].append(take(frame, "../../elsewhere.png"))),
        "frame 2: its take 1 must be takes/frame_002_take1.png, got '../../elsewhere.png'",
    ),
}


def take(frame: Any, file: str) -> dict[str, Any]:
    """The frame's own picture as one that it had before."""
    own = {name: frame[name] for name in ("sha256", "prompt", "seed", "accepted", "candidates")}
    return {**own, "file": file, "replaced": "2025-10-19T12:00:00Z"}


def refusal(board: Path) -> str:
    """The one line."""
    with pytest.raises(InputError) as caught:
        read_board(board)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", REPORT)
def test_a_report_that_was_edited_is_refused(board: Path, name: str) -> None:
    change, words = REPORT[name]
    edit(board / "report.json", change)
    told = refusal(board)
    assert told.startswith(f"{board / 'report.json'}: {words}"), told
    assert told.endswith("make the storyboard again")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda prompts: prompts.reverse(), "prompt 1 is of scene 3"),
        (lambda prompts: prompts[1].update(prompt="a camel"), "prompt 2 is not the one in the report"),
        (lambda prompts: prompts.clear(), "has 0 frames, the report has 3"),
        (lambda prompts: prompts[0].update(tokens=0), "0.tokens: Input should be greater than or equal to 1"),
    ],
)
def test_prompts_that_were_edited_are_refused(board: Path, change: Change, words: str) -> None:
    edit(board / "sdxl_prompts.json", change)
    assert refusal(board).startswith(f"{board / 'sdxl_prompts.json'}: {words}")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda scenes: scenes["scenes"].clear(), "scenes: Tuple should have at least 1 item"),
        (lambda scenes: scenes["scenes"].reverse(), "the file: Value error, scenes must be numbered 1 to 3 in order"),
        (lambda scenes: scenes["scenes"].pop(), "has 2 frames, the report has 3"),
    ],
)
def test_scenes_that_were_edited_are_refused(board: Path, change: Change, words: str) -> None:
    edit(board / "scene_breakdown.json", change)
    assert refusal(board).startswith(f"{board / 'scene_breakdown.json'}: {words}")


def test_pictures_that_changed_places_are_refused(board: Path) -> None:
    (board / "frame_002.png").rename(board / "x.png")
    (board / "frame_003.png").rename(board / "frame_002.png")
    (board / "x.png").rename(board / "frame_003.png")
    assert refusal(board).startswith(f"{board / 'frame_002.png'}: changed after it was painted")
    (board / "frame_002.png").unlink()
    with pytest.raises(ObjectNotFound, match=r"frame_002\.png: no such file or folder$"):
        read_board(board)


def test_pictures_that_changed_places_in_the_report_too_are_known_by_their_recipes(board: Path) -> None:
    files = [(board / f"frame_00{number}.png") for number in (2, 3)]
    first, other = (file.read_bytes() for file in files)
    files[0].write_bytes(other)
    files[1].write_bytes(first)

    def change(report: Any) -> None:
        second, third = report["frames"][1:]
        second["sha256"], third["sha256"] = third["sha256"], second["sha256"]
        second["candidates"][0]["sha256"], third["candidates"][0]["sha256"] = second["sha256"], third["sha256"]

    edit(board / "report.json", change)
    with pytest.raises(InputError, match=r"frame_002\.png: its frame is 3, the report says 2; one of the two was "):
        plan_redo(board, 2, RedoOptions())


def test_settings_that_are_not_those_of_the_pictures_are_refused(board: Path) -> None:
    edit(board / "report.json", lambda report: report["render_config"].update(steps=3, guidance=1.0))
    with pytest.raises(InputError, match=r"frame_001\.png: its steps is 15, the report says 3"):
        plan_redo(board, 1, RedoOptions())


def test_a_take_that_the_report_does_not_know_is_not_written_over(board: Path) -> None:
    (board / "takes").mkdir()
    shutil.copy(board / "frame_002.png", board / "takes" / "frame_002_take1.png")
    assert refusal(board).startswith(f"{board / 'takes' / 'frame_002_take1.png'}: is not listed in the report; ")
    edit(
        board / "report.json",
        second(lambda frame: frame["takes"].append(take(frame, "takes/frame_002_take1.png"))),
    )
    read_board(board)
    (board / "takes" / "frame_002_take1.png").write_bytes(b"")
    assert "changed after it was painted" in refusal(board)
    (board / "takes" / "frame_002_take1.png").unlink()
    read_board(board)


def test_a_book_does_not_count_an_edited_board(board: Path, caplog: pytest.LogCaptureFixture) -> None:
    def chapter() -> str | None:
        return open_book([STORY], options_of(board.parent), lambda: WEIGHTS).chapters[0].directory

    assert chapter() == str(board)
    edit(board / "report.json", second(lambda frame: frame["candidates"][0].update(sha256="0" * 64)))
    assert chapter() is None
    assert "frame 2: none of its candidates has its sha256" in caplog.text
