"""What a panel says is changed in a redo: words alone keep the picture, what is painted is painted anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redo_runs
from flow_runs import Ran
from redo_runs import files, redo, refused, report_of

from models.board.finished import read_board
from models.profiles import PROFILES

board = redo_runs.board

RECORDS = {"report.json", "sdxl_prompts.json", "scene_breakdown.json", "contact_sheet.png"}


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


def test_words_that_no_picture_shows_paint_nothing(board: Path, told: Ran) -> None:
    before = files(board)
    ran = redo(board, 3, scene=("seconds: 4.5", "dialogue: Aldar: No. | the khan: Then ten horses!", "notes: slow"))
    assert changed(before, files(board)) == RECORDS
    assert str(ran.state.message).startswith("frame 3: words changed; 6 frames, ")
    assert set(ran.task_runs("board", "report")) == {"board", "report"}
    now = read_board(board)
    panel = now.report.frames[2].scene.panel
    assert (panel.seconds, panel.notes) == (4.5, "slow")
    assert [line.speaker for line in panel.dialogue] == ["Aldar", "the khan"]
    assert now.breakdown.scenes[2] == now.prompts[2].scene == now.report.frames[2].scene
    old = told.report.frames
    assert [frame for frame in now.report.frames if frame.number != 3] == [frame for frame in old if frame.number != 3]
    assert now.report.frames[2].takes == ()


def test_what_is_painted_is_painted_from_the_same_seed(board: Path, told: Ran) -> None:
    before = files(board)
    ran = redo(board, 4, scene=("place: mountains", "seconds: 2"))
    assert changed(before, files(board)) == RECORDS | {"frame_004.png", "takes/frame_004_take1.png"}
    frame, old = ran.report.frames[3], told.report.frames[3]
    assert (frame.seed, frame.painted, frame.scene.place, frame.scene.panel.seconds) == (old.seed, 1, "mountains", 2.0)
    assert "mountains" in frame.prompt and frame.prompt != old.prompt
    assert read_board(board).breakdown.scenes[3].place == "mountains"


def test_a_size_for_which_the_base_has_the_same_words_paints_nothing(board: Path, told: Ran) -> None:
    before, old = files(board), told.report.frames[1]
    assert old.scene.panel.shot_size == "CU"
    frame = redo(board, 2, scene=("shot size: ECU",)).report.frames[1]  # steppe knows near, middle and far
    assert changed(before, files(board)) == RECORDS
    assert (frame.scene.panel.shot_size, frame.prompt) == ("ECU", old.prompt)


def test_another_size_is_painted(board: Path, told: Ran) -> None:
    frame, old = redo(board, 2, scene=("shot size: WS",)).report.frames[1], told.report.frames[1]
    assert (frame.painted, frame.seed) == (1, old.seed) and "far shot" in frame.prompt


def test_words_and_a_seed_paint_the_old_prompt(board: Path, told: Ran) -> None:
    frame = redo(board, 2, scene=("sound: wind",), seed=99).report.frames[1]
    assert (frame.seed, frame.prompt, frame.scene.panel.sound) == (99, told.report.frames[1].prompt, "wind")


def test_a_prompt_wins_over_the_scenes_words(board: Path) -> None:
    words = f"{PROFILES['steppe'].trigger} is sleeping"
    frame = redo(board, 2, scene=("place: mountains",), prompt=words).report.frames[1]
    assert (frame.prompt, frame.scene.place) == (words, "mountains")


def test_a_redo_without_changes_leaves_the_scenes_as_they_are(board: Path) -> None:
    file = board / "scene_breakdown.json"
    before = file.read_bytes()
    redo(board, 2)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("zoom: big", "'zoom: big' is no change: write one of caption, action,"),
        ("2 seconds: 4", "'2 seconds: 4' is no change"),
        ("seconds: nine", "seconds"),
        ("shot size: XCU", "'XCU'"),
        ("dialogue: No!", "has no speaker"),
        ("cast: the dragon", "the dragon"),
        ("caption:", "caption"),
    ],
)
def test_no_change_is_refused_in_one_line_and_the_board_stays(board: Path, change: str, words: str) -> None:
    before = files(board)
    assert words in refused(redo(board, 2, scene=(change,)))
    assert files(board) == before


def test_a_scene_edited_by_hand_is_left_to_its_own_command(board: Path) -> None:
    file = board / "scene_breakdown.json"
    scenes = json.loads(file.read_text(encoding="utf-8"))
    scenes["scenes"][1]["panel"]["seconds"] = 7
    file.write_text(json.dumps(scenes), encoding="utf-8")
    said = refused(redo(board, 2, scene=("sound: wind",)))
    assert "scene 2 was edited there" in said and f"--from {board}" in said
    assert redo(board, 3, scene=("sound: wind",)).state.is_completed()
    assert json.loads(file.read_text(encoding="utf-8"))["scenes"][1]["panel"]["seconds"] == 7
    assert report_of(board).frames[2].scene.panel.sound == "wind"
