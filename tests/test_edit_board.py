"""A new board from a finished one's edited scenes: only what changed is painted, and panels may come, go and move."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redo_runs
from flow_runs import Ran, Stage, short
from PIL import Image, ImageDraw
from redo_runs import WORDS, files, redo, refused

from flows.edit_board import edit_board
from models.board.finished import read_board
from models.errors import InputError
from models.export.options import ExportOptions
from models.export.write import write_exports
from models.frames.recipe import read_recipe
from models.settings import StoryboardOptions

board = redo_runs.board
Parts = dict[str, Any]


def edited(board: Path, edit: Callable[[Parts], object] = lambda parts: None, **options: Any) -> Ran:
    """Edit the board's scenes, and make a new one from it."""
    file = board / "scene_breakdown.json"
    parts = json.loads(file.read_text("utf-8"))
    edit(parts)
    file.write_text(json.dumps(parts, ensure_ascii=False, indent=2), "utf-8")
    return Ran(edit_board(str(board), StoryboardOptions(**options), return_state=True), board.parent)


def painted(ran: Ran) -> list[int]:
    return [frame.number for frame in ran.report.frames if frame.painted]


def seeds(ran: Ran) -> list[int]:
    return [frame.seed for frame in ran.report.frames]


def led_by(ran: Ran, number: int) -> str | None:
    control = read_recipe(ran.board / f"frame_{number:03}.png").control
    return control.kind if control else None


def change(number: int, **changes: Any) -> Callable[[Parts], object]:
    return lambda parts: parts["scenes"][number - 1].update(changes)


def test_what_is_not_seen_paints_nothing_and_is_on_the_new_board(board: Path, stage: Stage, told: Ran) -> None:
    said = [{"speaker": "the merchant", "text": "No."}]
    more = {"dialogue": said, "notes": "slow", "sound": "wind", "seconds": 9.5, "shot_number": "4C", "movement": "tilt"}
    entries, before = stage.entries(), files(board)
    ran = edited(board, lambda parts: parts["scenes"][3]["panel"].update(more))
    assert painted(ran) == []
    assert stage.entries() == entries
    assert ran.board != board
    after = files(ran.board)
    assert {name: data for name, data in after.items() if name.startswith("frame_")} == {
        name: data for name, data in before.items() if name.startswith("frame_")
    }
    frame = ran.report.frames[3]
    assert frame.scene.panel.model_dump(include=set(more), mode="json") == more
    assert read_board(ran.board).breakdown.scenes[3].panel == frame.scene.panel
    assert [frame.candidates for frame in ran.report.frames] == [frame.candidates for frame in told.report.frames]
    assert ran.report.options == told.report.options.model_copy(update={"output_dir": str(board.parent)})
    assert {name for name in files(board) if files(board)[name] != before[name]} == {"scene_breakdown.json"}


def test_an_exported_zip_is_a_board_too_and_is_unpacked_once(board: Path, stage: Stage, tmp_path: Path) -> None:
    packed = Path(write_exports(board, ExportOptions(forms=("zip",))).folder) / "storyboard.zip"
    entries = stage.entries()
    for boards in (2, 3):
        options = StoryboardOptions(output_dir=str(tmp_path))
        ran = Ran(edit_board(str(packed), options, return_state=True), tmp_path)
        assert painted(ran) == [] and stage.entries() == entries
        unpacked = [folder for folder in tmp_path.iterdir() if (folder / "report.json").is_file()]
        assert len(unpacked) == boards  # the board of the ZIP, and one of each run
    assert any(folder.name.startswith("storyboard_") for folder in unpacked)


def test_one_edited_action_paints_one_frame(board: Path, stage: Stage, told: Ran) -> None:
    entries = stage.entries()
    ran = edited(board, change(4, action="is sleeping"))
    assert painted(ran) == [4]
    assert len(stage.entries()) == len(entries) + 1
    assert "is sleeping" in ran.report.frames[3].prompt
    assert seeds(ran) == seeds(told)
    others = [(frame.sha256, frame.accepted) for frame in ran.report.frames if frame.number != 4]
    assert others == [(frame.sha256, frame.accepted) for frame in told.report.frames if frame.number != 4]
    assert {short(name) for name in ran.task_runs("keep frame 1", "frame 4", "report")} >= {"frame 4", "report"}


def test_an_edited_frame_1_is_painted_alone_and_the_others_are_compared_with_it(board: Path, told: Ran) -> None:
    ran = edited(board, change(1, action="is sleeping"))
    assert painted(ran) == [1]
    for before, after in zip(told.report.frames[1:], ran.report.frames[1:], strict=True):
        assert after.sha256 == before.sha256
        assert after.consistency_score != before.consistency_score
        assert after.prompt_score == before.prompt_score
    read_board(ran.board)


def test_panels_are_inserted_removed_and_moved(board: Path, told: Ran) -> None:
    def edit(parts: Parts) -> None:
        first, second, third, fourth, fifth, _ = parts["scenes"]
        new = {**second, "action": "is sleeping", "panel": {"angle": "low"}}
        last = {**third, "number": None, "action": "is running", "panel": {}}
        parts["scenes"] = [first, second, new, fifth, fourth, third, last]

    ran = edited(board, edit)
    assert painted(ran) == [3, 7]
    old = [frame.sha256 for frame in told.report.frames]
    new = [frame.sha256 for frame in ran.report.frames]
    assert [new[place] for place in (0, 1, 3, 4, 5)] == [old[place] for place in (0, 1, 4, 3, 2)]
    assert [frame.scene.panel.shot_number for frame in ran.report.frames] == ["1", "2", "2A", "5", "4", "3", "6"]
    assert [frame.painted_as for frame in ran.report.frames] == [None, None, None, 5, 4, 3, None]
    assert seeds(ran)[3:6] == [5042, 4042, 3042]
    assert ran.report.options.frames == 7
    assert read_board(ran.board).report == ran.report
    assert (read_recipe(ran.board / "frame_004.png").frame, read_recipe(ran.board / "frame_003.png").frame) == (5, 3)
    again = redo(ran.board, 4)
    assert (again.report.frames[3].seed, again.report.frames[3].painted_as) == (5052, None)
    back = edited(ran.board, lambda parts: parts["scenes"].__setitem__(slice(3, 6), parts["scenes"][5:2:-1]))
    assert painted(back) == []
    assert [frame.painted_as for frame in back.report.frames[3:6]] == [3, 4, 4]


def test_a_sketch_goes_with_its_panel(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    sketch = stage.output / "sketch.png"
    lines = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(lines).ellipse((12, 8, 50, 60), outline="black", width=3)
    lines.save(sketch)
    own = stage.run(frames=6, sketches={2: str(sketch)}).board

    def put_before_it(parts: Parts) -> None:
        first, *others = parts["scenes"]
        parts["scenes"] = [first, {**others[0], "number": None, "action": "is sleeping", "panel": {}}, *others]

    moved = edited(own, put_before_it)
    assert painted(moved) == [2]
    assert moved.report.options.sketches == {3: str(sketch)}
    assert [led_by(moved, number) for number in (2, 3)] == ["reference", "sketch"]
    again = edited(moved.board, change(3, action="is running"))
    assert painted(again) == [3]
    assert led_by(again, 3) == "sketch"


def test_another_first_panel_keeps_its_picture(board: Path, told: Ran) -> None:
    ran = edited(board, lambda parts: parts["scenes"].reverse())
    assert painted(ran) == []
    assert [frame.sha256 for frame in ran.report.frames] == [frame.sha256 for frame in told.report.frames][::-1]
    assert ran.report.frames[0].consistency_score is None
    assert ran.report.frames[5].consistency_score == pytest.approx(told.report.frames[5].consistency_score, abs=1e-5)
    read_board(ran.board)


@pytest.mark.parametrize(("store", "picture", "again"), [(False, True, []), (True, False, []), (False, False, [3])])
def test_a_picture_comes_from_store_or_board_and_is_checked(
    board: Path, store: bool, picture: bool, again: list[int], told: Ran
) -> None:
    if not store:
        shutil.rmtree(board.parent / ".store")
    if not picture:
        (board / "frame_003.png").write_bytes((board / "frame_002.png").read_bytes())
    ran = edited(board)
    assert painted(ran) == again
    assert [frame.sha256 for frame in ran.report.frames] == [frame.sha256 for frame in told.report.frames]


def test_refresh_paints_everything(board: Path) -> None:
    assert painted(edited(board, refresh=True)) == [1, 2, 3, 4, 5, 6]


def test_a_prompt_written_by_hand_stays_until_its_scene_is_edited(board: Path) -> None:
    redo(board, 4, prompt=WORDS)
    ran = edited(board, change(4, caption="He rides."))
    assert (painted(ran), ran.report.frames[3].prompt) == ([], WORDS)
    then = edited(ran.board, change(4, place="somewhere else"))
    assert painted(then) == [4]
    assert "somewhere else" in then.report.frames[3].prompt


def test_a_cast_member_described_anew_is_painted_where_it_is_seen(board: Path, told: Ran) -> None:
    def edit(parts: Parts) -> None:
        parts["cast"][0]["description"] = "a merchant in a white robe and a crown"

    seen = [frame.number for frame in told.report.frames if frame.scene.cast]
    assert 0 < len(seen) < 6
    assert painted(edited(board, edit)) == seen


def test_a_board_of_an_earlier_version_has_no_panels_and_keeps_its_pictures(board: Path) -> None:
    for name in ("scene_breakdown.json", "report.json", "sdxl_prompts.json"):
        parts = json.loads((board / name).read_text("utf-8"))
        scenes = parts["scenes"] if name.startswith("scene") else parts
        if name != "scene_breakdown.json":
            scenes = [entry["scene"] for entry in (parts["frames"] if name == "report.json" else parts)]
        for scene in scenes:
            del scene["panel"]
        (board / name).write_text(json.dumps(parts), "utf-8")
    assert [scene.panel.shot_number for scene in read_board(board).breakdown.scenes] == [None] * 6
    ran = edited(board)
    assert painted(ran) == []
    assert [frame.scene.panel.shot_number for frame in ran.report.frames] == list("123456")


def test_what_contradicts_the_board_is_refused(board: Path, stage: Stage) -> None:
    assert refused(edited(board, seed=3)).startswith("seed: a board is made again with its own settings; leave it out")
    file = board / "scene_breakdown.json"
    before = stage.boards()
    said = refused(edited(board, change(2, mood="sad")))
    assert said.startswith(f"{file}: scene 2, mood: unknown field; valid names: number, caption")
    assert stage.boards() == before
    report = json.loads((board / "report.json").read_text("utf-8"))
    report["weights"]["clip"] = "0" * 64
    (board / "report.json").write_text(json.dumps(report), "utf-8")
    parts = json.loads(file.read_text("utf-8"))
    del parts["scenes"][1]["mood"]
    file.write_text(json.dumps(parts), "utf-8")
    with pytest.raises(InputError, match=r"painted with other weights \(clip changed since\)"):
        _ = edited(board).board
