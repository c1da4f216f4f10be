"""One frame of a finished storyboard redone: the others keep their bytes, and the picture before it is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import redo_runs
from flow_runs import Ran, Stage
from PIL import Image, ImageDraw
from redo_runs import WORDS, files, redo, refused, report_of

from models.board.finished import read_board
from models.board.markdown import escape
from models.frames.recipe import read_recipe
from models.profiles import PROFILES

board = redo_runs.board


def test_the_next_seed_is_painted_and_the_other_frames_keep_their_bytes(board: Path, told: Ran) -> None:
    ran = redo(board, 4)
    assert ran.board == board
    before, after = files(told.board), files(board)
    assert after["takes/frame_004_take1.png"] == before["frame_004.png"] != after["frame_004.png"]
    assert set(after) - set(before) == {"takes/frame_004_take1.png"}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"frame_004.png", "contact_sheet.png", "report.json"}
    old, new = told.report.frames, ran.report.frames
    assert (old[3].seed, new[3].seed, new[3].painted, new[3].prompt) == (4042, 4052, 1, old[3].prompt)
    assert read_recipe(board / "frame_004.png").seed == 4052
    assert [frame for frame in new if frame.number != 4] == [frame for frame in old if frame.number != 4]
    (take,) = new[3].takes
    assert (take.file, take.sha256, take.seed) == ("takes/frame_004_take1.png", old[3].sha256, 4042)
    assert take.candidates == old[3].candidates
    assert ran.report.options == told.report.options
    assert read_board(board).report == ran.report
    assert sorted(path.name for path in board.parent.glob(".*")) == [".store", f".{board.name}.lock"]


def test_the_server_shows_what_was_redone(board: Path) -> None:
    ran = redo(board, 4)
    stages = ("board", "checks", "weights", "load models", "prompt", "frame 4", "report")
    assert set(ran.task_runs(*stages)) == set(stages)
    assert ran.flow_run().name == f"frame 4 of {board.name}"
    artifacts = ran.artifacts()
    assert set(artifacts) == {"contact-sheet", "scores", "report"}  # and no bar that is full
    assert str(ran.state.message).startswith("frame 4 redone; 6 frames, ")
    assert str(artifacts["contact-sheet"].data).startswith("![contact sheet](data:image/jpeg;base64,")
    assert [row["seed"] for row in json.loads(str(artifacts["scores"].data))] == [42, 2042, 3042, 4052, 5042, 6042]
    assert escape("frame 4: seed 4042 -> 4052, accepted") in str(artifacts["report"].data)
    assert escape("takes/frame_004_take1.png") in str(artifacts["report"].data)


def test_redone_again_all_takes_are_kept_and_an_old_seed_comes_from_the_store(board: Path, told: Ran) -> None:
    first, second, third = redo(board, 4), redo(board, 4), redo(board, 4, seed=4042)
    assert [ran.report.frames[3].seed for ran in (first, second, third)][2] == 4042
    frame = report_of(board).frames[3]
    assert [take.seed for take in frame.takes] == [4042, 4052, 4062]
    assert frame.painted == 0
    assert (board / "frame_004.png").read_bytes() == (told.board / "frame_004.png").read_bytes()
    assert [(board / take.file).is_file() for take in frame.takes] == [True] * 3
    assert redo(board, 4).report.frames[3].seed == 4072


def test_other_words_are_painted_from_the_same_seed(board: Path, told: Ran) -> None:
    ran = redo(board, 2, prompt=f"  {WORDS}\n")
    frame = ran.report.frames[1]
    assert (frame.prompt, frame.seed) == (WORDS, 2042)
    assert frame.scene == told.report.frames[1].scene
    assert read_recipe(board / "frame_002.png").prompt == WORDS
    prompts = [prompt["prompt"] for prompt in json.loads((board / "sdxl_prompts.json").read_text("utf-8"))]
    assert prompts == [frame.prompt for frame in ran.report.frames]
    assert frame.takes[0].prompt == told.report.frames[1].prompt
    assert redo(board, 2).report.frames[1].prompt == WORDS


def test_a_sketch_leads_the_frame_until_it_is_taken_away(board: Path, tmp_path: Path) -> None:
    sketch = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(sketch).ellipse((12, 8, 50, 60), outline="black", width=3)
    file = tmp_path / "sketch.png"
    sketch.save(file)

    def control() -> str:
        own = read_recipe(board / "frame_003.png").control
        assert own is not None
        return own.kind

    assert redo(board, 3, sketch=str(file)).report.frames[2].sketch == str(file)
    assert control() == "sketch"
    assert redo(board, 3, prompt=WORDS).report.frames[2].sketch == str(file)
    assert control() == "sketch"
    assert redo(board, 3, sketch="none").report.frames[2].sketch is None
    assert control() == "reference"


def test_the_frame_is_painted_as_the_board_was_whatever_the_defaults_are_now(
    board: Path, told: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    redo(board, 4)
    tiny = PROFILES["tiny"]
    changes = {"guidance": 9.0, "control_scale": 0.9, "native_size": 128, "consistency_threshold": 1.0}
    monkeypatch.setitem(PROFILES, "tiny", tiny.model_copy(update=changes))
    monkeypatch.setenv("STORYBOARD_STEPS", "5")
    frame = redo(board, 4, seed=4042).report.frames[3]
    assert (frame.sha256, frame.painted, frame.accepted) == (told.report.frames[3].sha256, 0, True)


def test_a_fast_frame_painted_anew_with_its_own_seed_is_the_picture_that_is_there(stage: Stage) -> None:
    ran = stage.run(frames=2, speed="fast", steps=10)
    shutil.rmtree(stage.output / ".store")
    assert refused(redo(ran.board, 2, seed=2042)).startswith("frame 2: seed 2042 gives the present picture again; ")
    recipe = read_recipe(ran.board / "frame_002.png")
    assert (recipe.steps, recipe.sampler) == (4, "DPM++ 2M")


def test_the_first_frame_redone_measures_the_others_anew(board: Path, told: Ran) -> None:
    ran = redo(board, 1)
    old, new = told.report, ran.report
    assert (new.frames[0].seed, new.frames[0].reference, new.frames[0].consistency_score) == (52, True, None)
    before, after = files(told.board), files(board)
    assert all(after[f"frame_00{number}.png"] == before[f"frame_00{number}.png"] for number in range(2, 7))
    for earlier, frame in zip(old.frames[1:], new.frames[1:], strict=True):
        assert frame.consistency_score != earlier.consistency_score
        assert frame.candidates[-1].scores.consistency == frame.consistency_score
        assert frame.accepted == (not frame.candidates[-1].reasons)
        assert (frame.prompt_score, frame.seed, frame.sha256) == (earlier.prompt_score, earlier.seed, earlier.sha256)
    similarity = [frame.consistency_score or 0 for frame in new.frames[1:]]
    assert new.min_consistency == min(similarity)
    assert new.average_consistency == pytest.approx(sum(similarity) / 5)
    (note,) = new.notes
    assert note.startswith("Frame 1 was redone. Frames 2 to 6 were painted from the earlier frame 1")
    assert escape(note) in str(ran.artifacts()["report"].data)
    back = redo(board, 1, seed=42).report
    assert [frame.consistency_score for frame in back.frames] == [frame.consistency_score for frame in old.frames]


def test_a_later_frame_that_has_become_a_near_copy_is_marked_as_weak(stage: Stage) -> None:
    ran = stage.run(pipeline="simplified", frames=3)
    assert ran.report.weak_frames == ()
    third = ran.report.frames[2]
    report = redo(ran.board, 2, prompt=third.prompt, seed=third.seed).report
    assert report.weak_frames == (3,)
    assert "near copy of earlier frame 2" in report.frames[2].anomalies[0]
    assert redo(ran.board, 2).report.weak_frames == ()


def test_a_weak_frame_goes_through_its_attempts_and_the_best_is_put_on_the_board(stage: Stage) -> None:
    ran = stage.run(frames=2, threshold=1.0, attempts=2)
    again = redo(ran.board, 2, attempts=3)
    frame = again.report.frames[1]
    assert [candidate.seed for candidate in frame.candidates] == [2062, 2072, 2082]
    assert (frame.accepted, again.report.weak_frames) == (False, (2,))
    assert again.task_runs("frame 2")["frame 2"].run_count == 3
    assert redo(ran.board, 2).report.frames[1].candidates[0].seed == 2092


def test_a_run_id_names_the_board_too(stage: Stage) -> None:
    ran = stage.run(frames=1)
    again = redo(str(ran.run_id), 1)
    assert again.board == ran.board
    assert redo(str(again.run_id), 1).board == ran.board
    assert len(ran.report.frames[0].takes) == 2


def test_reports_from_before_frames_could_be_redone_are_read(board: Path) -> None:
    report = json.loads((board / "report.json").read_text("utf-8"))
    del report["notes"]
    for frame in report["frames"]:
        del frame["takes"], frame["sketch"]
    (board / "report.json").write_text(json.dumps(report), "utf-8")
    assert redo(board, 4).report.frames[3].seed == 4052
