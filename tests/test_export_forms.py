"""What every form of an export reads, and the subtitles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from PIL import Image
from written_boards import edit, write_board

from models.board.finished import read_board
from models.export.forms import FORMS
from models.export.options import ExportOptions
from models.export.panels import ExportBoard, export_board
from models.option_types import ExportForm


def with_panels(board: Path, *panels: Mapping[str, object]) -> ExportBoard:
    """The board with these panels' fields, read for an export."""

    def change(breakdown: dict[str, list[dict[str, object]]]) -> None:
        for scene, panel in zip(breakdown["scenes"], panels, strict=False):
            scene["panel"] = panel

    edit(board / "scene_breakdown.json", change)
    return export_board(read_board(board))


SAID = {
    "shot_number": "2A",
    "dialogue": [{"speaker": "Aldar", "text": "A fair\nswap?"}, {"speaker": "The khan", "text": "<Never> & nowhere"}],
    "seconds": 2.5,
}


def test_panels_follow_each_other_in_time(tmp_path: Path) -> None:
    board = write_board(tmp_path, width=96, height=64)
    read = with_panels(board, {"seconds": 1.5}, SAID)
    assert [(panel.start, panel.end) for panel in read.panels] == [(0, 1.5), (1.5, 4), (4, 7)]
    assert [panel.shot for panel in read.panels] == ["1", "2A", "3"]
    assert (read.seconds, read.fps, read.folder) == (7, 24, board)
    first = read.panels[0]
    with Image.open(first.picture) as picture:
        assert (first.width, first.height) == picture.size == (96, 64)
    assert (first.caption, first.action, first.takes) == ("Aldar bows, 1.", "is bowing", ())
    assert first.picture == board / "frame_001.png"


def test_every_form_that_options_name_is_there_and_no_other() -> None:
    assert tuple(FORMS) == get_args(ExportForm)
    assert len({form.file for form in FORMS.values()}) == len(FORMS)


def made(name: str, board: ExportBoard, folder: Path) -> str:
    """The text of a form's file, made without a warning."""
    file = folder / FORMS[name].file
    assert FORMS[name].make(board, ExportOptions(), file) == ()
    return file.read_bytes().decode()


def test_subtitles_hold_what_is_said_else_the_caption(tmp_path: Path) -> None:
    read = with_panels(write_board(tmp_path), {"seconds": 599.5}, SAID)
    assert made("srt", read, tmp_path) == (
        "1\n00:00:00,000 --> 00:09:59,500\nAldar bows, 1.\n\n"
        "2\n00:09:59,500 --> 00:10:02,000\nAldar: A fair swap?\nThe khan: <Never> & nowhere\n\n"
        "3\n00:10:02,000 --> 00:10:05,000\nAldar bows, 3.\n"
    )
    assert made("vtt", read, tmp_path) == (
        "WEBVTT\n\n1\n00:00:00.000 --> 00:09:59.500\nAldar bows, 1.\n\n"
        "2A\n00:09:59.500 --> 00:10:02.000\nAldar: A fair swap?\nThe khan: &lt;Never&gt; &amp; nowhere\n\n"
        "3\n00:10:02.000 --> 00:10:05.000\nAldar bows, 3.\n"
    )
