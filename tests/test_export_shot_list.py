"""The shot list: read back by openpyxl and csv; no caption is ever a formula."""

from __future__ import annotations

import csv
from pathlib import Path

import openpyxl
import pytest
from exported_boards import CHINESE, KAZAKH, board_of, options

from models.export.shot_list import COLUMNS, write_csv, write_xlsx

HOSTILE = ['=HYPERLINK("http://x.y","a")', "+1+1", "-2", "@SUM(A1)", "\tx", "http://x.y/z", "{=1}", "a,b;c\n\"d'"]


@pytest.mark.parametrize("caption", HOSTILE)
def test_a_caption_is_a_text_in_both(caption: str, tmp_path: Path) -> None:
    board = board_of(tmp_path / "b", caption, "He laughs.", action=caption)
    for write, name in ((write_xlsx, "b.xlsx"), (write_csv, "b.csv")):
        assert write(board, options(), tmp_path / name) == ()
    sheet = openpyxl.load_workbook(tmp_path / "b.xlsx").active
    assert sheet is not None
    for name in ("Caption", "Action"):
        cell = sheet.cell(2, 2 + list(COLUMNS).index(name))
        assert (cell.value, cell.data_type, cell.hyperlink) == (caption, "s", None)
    [row, _] = csv.DictReader((tmp_path / "b.csv").read_text("utf-8-sig").splitlines(keepends=True))
    assert row["Caption"].removeprefix("'") == caption
    assert row["Caption"][0] not in "=+-@\t"


def test_every_field_is_in_its_column(tmp_path: Path) -> None:
    board = board_of(tmp_path / "b", KAZAKH, CHINESE, accepted=False)
    write_csv(board, options(), tmp_path / "b.csv")
    write_xlsx(board, options(), tmp_path / "b.xlsx")
    assert (tmp_path / "b.csv").read_bytes().startswith(b"\xef\xbb\xbfShot,Frame,")
    with (tmp_path / "b.csv").open(encoding="utf-8-sig", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["Caption"], first["Image similarity"], first["Dialogue"]) == (KAZAKH, "", "")
    assert second == {
        "Shot": "2A",
        "Frame": "2",
        "Start": "3.0",
        "End": "5.5",
        "Seconds": "2.5",
        "Size": "EWS",
        "Angle": "over the shoulder",
        "Movement": "dolly",
        "Caption": CHINESE,
        "Dialogue": "Aldar: A fair swap?\nХан: Ешқашан!",
        "Action": "is bowing",
        "Sound": "wind and bells",
        "Notes": "Snow; no music.",
        "Picture": "frame_002.png",
        "Takes": "0",
        "Seed": "2",
        "Verdict": "weak",
        "Image similarity": "0.8",
        "Prompt score": "0.31",
    }
    sheet = openpyxl.load_workbook(tmp_path / "b.xlsx").active
    assert sheet is not None
    names, _, row = sheet.iter_rows(values_only=True)
    assert names == ("Panel", *COLUMNS)
    assert [str(value) for value in row[1:]] == [second[name].replace("3.0", "3") for name in COLUMNS]


@pytest.mark.parametrize("size", [(96, 54), (54, 96), (400, 40)])
def test_every_row_has_its_thumbnail_in_its_own_shape(size: tuple[int, int], tmp_path: Path) -> None:
    write_xlsx(board_of(tmp_path / "b", "a", "b", "c", size=size), options(), tmp_path / "b.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "b.xlsx").active
    assert sheet is not None
    pictures = sheet._images  # openpyxl has no other way to them
    assert [picture.anchor._from.row for picture in pictures] == [1, 2, 3]
    for picture in pictures:
        assert picture.width / picture.height == pytest.approx(size[0] / size[1], rel=0.06)
        assert max(picture.width, picture.height) <= 200
        assert sheet.row_dimensions[2].height * 4 / 3 >= picture.height
