"""Timelines for editors, read back with the same library; and an edited one brought back to its board."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from test_export_forms import with_panels
from written_boards import WEIGHTS, edit, write_board

from flows.commands.export import parse
from models.board.finished import read_board
from models.errors import InputError
from models.export.forms import FORMS
from models.export.options import ExportOptions
from models.export.order import bring_back
from models.export.panels import export_board
from models.export.timelines import METADATA
from models.export.write import write_exports
from models.records import SceneBreakdown

ADAPTERS = {"otio": "otio_json", "fcpxml": "fcp_xml", "edl": "cmx_3600"}
PANELS: tuple[dict[str, object], ...] = ({"seconds": 1.02}, {"seconds": 2.5, "shot_number": "2A"}, {"seconds": 4})


def timeline(board: Path, name: str = "otio", fps: int = 24) -> Path:
    """A timeline of this board, in its folder for exports."""
    file = board / "exports" / FORMS[name].file
    file.parent.mkdir(exist_ok=True)
    read = export_board(read_board(board), fps)
    assert FORMS[name].make(read, ExportOptions(forms=(name,)), file) == ()
    return file


def read_back(file: Path, name: str, fps: int = 24) -> Any:
    more = {"rate": fps} if name == "edl" else {}
    read = otio.adapters.read_from_string(file.read_text("utf-8"), adapter_name=ADAPTERS[name], **more)
    return read if isinstance(read, otio.schema.Timeline) else read[0]


@pytest.mark.parametrize("fps", [24, 25, 30])
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_timeline_has_the_panels_in_order_with_their_pictures(name: str, fps: int, tmp_path: Path) -> None:
    board = write_board(tmp_path)
    with_panels(board, *PANELS)
    file = timeline(board, name, fps)
    found = read_back(file, name, fps)
    assert found.name == "The khan"
    (track,) = found.video_tracks()
    clips = list(track.find_clips())
    assert len(clips) == len(track) == 3  # no gaps
    assert [clip.name for clip in clips] == ["1", "2A", "3"]
    frames = {24: [24, 60, 96], 25: [26, 62, 100], 30: [31, 75, 120]}[fps]
    assert [clip.duration().to_frames() for clip in clips] == frames
    assert {clip.duration().rate for clip in clips} == {fps}
    paths = [clip.media_reference.target_url for clip in clips]
    assert paths == [f"../frame_00{number}.png" for number in (1, 2, 3)]
    assert all((file.parent / path).is_file() for path in paths)


def test_a_timeline_of_final_cut_says_how_large_film_and_pictures_are(tmp_path: Path) -> None:
    board = write_board(tmp_path, width=96, height=64)
    text = timeline(board, "fcpxml").read_text("utf-8").replace("\n", "").replace(" ", "")
    assert text.count("<height>720</height><width>1080</width>") == 1
    assert text.count("<height>64</height><width>96</width>") == 3


def test_an_otio_clip_says_which_panel_it_is(tmp_path: Path) -> None:
    board = write_board(tmp_path)
    with_panels(board, *PANELS)
    found = read_back(timeline(board), "otio")
    noted = [dict(clip.metadata[METADATA]) for clip in found.find_clips()]
    report = read_board(board).report
    assert [(each["frame"], each["sha256"]) for each in noted] == [(f.number, f.sha256) for f in report.frames]
    assert noted[1]["panel"]["shot_number"] == "2A"


# --- and back


def edited(file: Path, change: Callable[[Any], object]) -> Path:
    """The timeline as an editor saves it elsewhere."""
    found = otio.adapters.read_from_file(str(file))
    change(found)
    other = file.with_name("edited.otio")
    otio.adapters.write_to_file(found, str(other))
    return other


def hold(clip: Any, seconds: float) -> None:
    clip.source_range = otio.opentime.TimeRange(
        clip.source_range.start_time, otio.opentime.RationalTime.from_seconds(seconds, 24)
    )


def breakdown_of(board: Path) -> SceneBreakdown:
    return SceneBreakdown.model_validate_json((board / "scene_breakdown.json").read_bytes())


def _reverse(found: Any) -> None:
    track = found.tracks[0]
    clips = [clip.clone() for clip in track]
    hold(clips[0], 0.5)
    del track[:]
    track.extend(reversed(clips))


def test_order_and_seconds_of_an_edited_timeline_come_back_to_the_board(tmp_path: Path) -> None:
    board = write_board(tmp_path)
    files = {file.name: file.read_bytes() for file in board.iterdir() if file.is_file()}
    told = bring_back(board, edited(timeline(board), _reverse))
    assert (told.order, told.left_out, told.retimed) == ((3, 2, 1), (), (1,))
    assert str(told) == "order 3, 2, 1; other seconds for 1"
    found = breakdown_of(board)
    assert found.order == (3, 2, 1)
    assert [scene.panel.seconds for scene in found.scenes] == [0.5, 3, 3]
    changed = {file.name for file in board.iterdir() if file.is_file() and file.read_bytes() != files[file.name]}
    assert changed == {"scene_breakdown.json"}
    read = export_board(read_board(board))
    assert [(panel.frame, panel.start, panel.end) for panel in read.panels] == [(3, 0, 3), (2, 3, 6), (1, 6, 6.5)]


def test_an_unchanged_timeline_changes_nothing(tmp_path: Path) -> None:
    board = write_board(tmp_path)
    with_panels(board, {"seconds": 1.5}, {"seconds": 2}, {"seconds": 3})
    before = breakdown_of(board)
    assert bring_back(board, timeline(board)).retimed == ()
    assert breakdown_of(board) == before
    assert "order" not in json.loads((board / "scene_breakdown.json").read_bytes())


def test_seconds_that_are_no_whole_frames_are_kept_where_the_editor_kept_the_clip(tmp_path: Path) -> None:
    board = write_board(tmp_path)
    with_panels(board, {"seconds": 1.02}, {"seconds": 1.02}, {"seconds": 1.02})
    assert bring_back(board, timeline(board)).retimed == ()
    assert [scene.panel.seconds for scene in breakdown_of(board).scenes] == [1.02] * 3


def test_a_clip_that_was_cut_away_is_not_seen_and_one_cut_in_two_counts_once(tmp_path: Path) -> None:
    board = write_board(tmp_path)

    def cut(found: Any) -> None:
        track = found.tracks[0]
        del track[1]
        hold(track[0], 1)
        track.insert(1, track[0].clone())

    told = bring_back(board, edited(timeline(board), cut))
    assert (told.order, told.left_out, told.retimed) == ((1, 3), (2,), (1,))
    assert [panel.end for panel in export_board(read_board(board)).panels] == [2, 5]
    whole = bring_back(board, timeline_of_all(board))
    assert whole.order == (1, 2, 3)
    assert breakdown_of(board).order == ()


def timeline_of_all(board: Path) -> Path:
    edit(board / "scene_breakdown.json", lambda breakdown: breakdown.pop("order"))
    return timeline(board)


def test_an_export_brings_the_timeline_to_the_board_first(tmp_path: Path) -> None:
    board = write_board(tmp_path)
    file = edited(timeline(board), _reverse)
    exported = write_exports(board, ExportOptions(forms=("srt", "otio"), order=str(file), fps=25))
    assert exported.ordered == "order 3, 2, 1; other seconds for 1"
    clips = list(read_back(board / "exports" / "storyboard.otio", "otio").find_clips())
    assert [clip.name for clip in clips] == ["3", "2", "1"]
    assert [clip.duration() for clip in clips] == [otio.opentime.RationalTime(frames, 25) for frames in (75, 75, 13)]
    words = (board / "exports" / "storyboard.srt").read_text("utf-8")
    assert words.startswith("1\n00:00:00,000 --> 00:00:03,000\nAldar bows, 3.")


def test_the_command_takes_film_and_order_as_texts() -> None:
    asked = parse(["board", "--as", "mp4,edl", "--order", "edited.otio", "--fps", "30", "--no-captions", "--no-moves"])
    options = asked.options
    assert (options.forms, options.order, options.fps) == (("mp4", "edl"), "edited.otio", 30)
    assert (options.captions, options.moves) == (False, False)


def test_an_unknown_rate_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(["board", "--fps", "23"])
    assert "--fps" in capsys.readouterr().err


def _twice(found: Any) -> None:
    found.tracks[0].append(found.tracks[0][0].clone())


def _foreign(found: Any) -> None:
    found.tracks[0].append(otio.schema.Clip(name="B-roll", source_range=found.tracks[0][0].source_range))


def _unknown(found: Any) -> None:
    found.tracks[0][2].metadata[METADATA]["frame"] = 9


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_twice, "frame 1 is seen twice, at 1 and 4"),
        (_foreign, "clip 'B-roll' is none of a storyboard; start from an export --as otio"),
        (_unknown, "frame 9 is not on this board, which has 3 frames"),
        (lambda found: hold(found.tracks[0][0], 700), "frame 1: seconds: Input should be less than or equal to 600"),
        (lambda found: found.tracks[0].clear(), "its first video track has no clips"),
        (lambda found: found.tracks.clear(), "its first video track has no clips"),
    ],
)
def test_a_timeline_that_does_not_fit_is_refused_in_one_line(
    change: Callable[[Any], object], line: str, tmp_path: Path
) -> None:
    board = write_board(tmp_path)
    file = edited(timeline(board), change)
    before = (board / "scene_breakdown.json").read_bytes()
    with pytest.raises(InputError) as caught:
        bring_back(board, file)
    assert str(caught.value).startswith(f"{file}: {line}")
    assert "\n" not in str(caught.value)
    assert (board / "scene_breakdown.json").read_bytes() == before


def test_a_timeline_of_another_board_is_refused(tmp_path: Path) -> None:
    board = write_board(tmp_path / "one")
    other = write_board(tmp_path / "other", weights=WEIGHTS.model_copy(update={"base": "0" * 64}))
    with pytest.raises(InputError, match=r"frame 1 has a picture of another board$"):
        bring_back(board, timeline(other))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "TITLE: x\n\n001  AX V C",
        '{"OTIO_SCHEMA": "Gap.1"}',
        "\x00",
    ],
)
def test_what_is_no_timeline_is_refused(text: str, tmp_path: Path) -> None:
    board, file = write_board(tmp_path), tmp_path / "some.otio"
    file.write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        bring_back(board, file)
    assert str(caught.value) == f"{file}: no timeline of OpenTimelineIO; save the edited one as .otio"


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"none\.otio"):
        bring_back(write_board(tmp_path), tmp_path / "none.otio")
