"""The contact sheet shows every frame, in order, with words in any script."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops, features

from models.board import lettering, typefaces
from models.board.contact_sheet import CLAY, PAPER, Panel, contact_sheet
from models.errors import CorruptFile, ObjectNotFound

KAZAKH = "ӘҒҚҢӨҰҮҺІәғқңөұүһі"
ARABIC = "ىءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوي"


def colour(index: int) -> tuple[int, int, int]:
    """Of the frame of this index: bright, unlike the paper and unlike any other."""
    red, green, blue = colorsys.hsv_to_rgb(index / 24, 0.8 if index % 2 else 1.0, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def panels(folder: Path, frames: int, size: int = 256, height: int | None = None, **changes: Any) -> list[Panel]:
    """Frames of one colour each, with a black square in the upper left quarter."""
    made = []
    for index in range(frames):
        picture = Image.new("RGB", (size, height or size), colour(index))
        picture.paste((0, 0, 0), (size // 8, size // 8, size // 2, size // 2))
        picture.save(folder / f"{index}.png")
        panel = Panel(folder / f"{index}.png", "Aldar rides away.", "image similarity 0.71 · seed 2042", accepted=True)
        made.append(panel._replace(**changes))
    return made


def cell(sheet: Image.Image, index: int) -> tuple[int, int, int, int]:
    """Where the colour of this frame is on the sheet: left, top, right, bottom."""
    red, green, blue = (
        band.point([255 * (value == wanted) for value in range(256)])
        for band, wanted in zip(sheet.split(), colour(index), strict=True)
    )
    box = ImageChops.darker(ImageChops.darker(red, green), blue).getbbox()
    assert box is not None, f"frame {index + 1} is not on the sheet"
    return box


def sheet_of(folder: Path, caption: str, **changes: Any) -> Image.Image:
    return contact_sheet(panels(folder, 1, caption=caption, **changes), "Title", footer="foot")


@pytest.mark.parametrize(
    ("frames", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (6, 3), (7, 3), (9, 3), (10, 4), (24, 4)]
)
def test_every_frame_is_there_in_reading_order(frames: int, columns: int, tmp_path: Path) -> None:
    sheet = contact_sheet(panels(tmp_path, frames), "Title", story="A story.", footer="foot")
    cells = [cell(sheet, index) for index in range(frames)]
    for left, top, right, bottom in cells:
        assert 376 <= right - left <= 384
        assert 376 <= bottom - top <= 384
    assert len({left for left, *_ in cells}) == columns
    assert len({top for _, top, *_ in cells}) == -(-frames // columns)
    assert sorted(cells, key=lambda box: (box[1], box[0])) == cells


@pytest.mark.parametrize(("size", "side"), [(64, 384), (256, 384), (448, 448), (1024, 512)])
def test_pictures_are_shown_upright_at_a_size_for_the_page(size: int, side: int, tmp_path: Path) -> None:
    sheet = contact_sheet(panels(tmp_path, 6, size), "Title")
    left, top, right, bottom = cell(sheet, 4)
    assert abs(right - left - side) <= 8
    crop = sheet.crop((left, top, right, bottom)).resize((64, 64))
    with Image.open(tmp_path / "4.png") as original:
        difference = np.asarray(crop, int) - np.asarray(original.resize((64, 64)), int)
    assert np.abs(difference)[4:-4, 4:-4].mean() < 4  # without the round corners


@pytest.mark.parametrize(("width", "height"), [(336, 192), (192, 336), (1536, 640), (640, 1536)])
def test_pictures_of_another_shape_keep_it_and_touch_no_words(width: int, height: int, tmp_path: Path) -> None:
    caption = "Aldar rides away on the khan's own horse, and nobody in the steppe has seen anything of it. " * 2
    sheet = contact_sheet(panels(tmp_path, 6, width, height, caption=caption.strip()), "Title", story="A story.")
    cells = [cell(sheet, index) for index in range(6)]
    for left, top, right, bottom in cells:
        assert (right - left) / (bottom - top) == pytest.approx(width / height, rel=0.02)
        assert 376**2 * 0.97 <= (right - left) * (bottom - top) <= 513**2
    assert len({left for left, *_ in cells}) == 3
    assert max(right for _, _, right, _ in cells[:2]) < cells[2][0]
    below = np.asarray(sheet.crop((0, cells[0][3] + 4, sheet.width, cells[3][1] - 4)).convert("L"))
    words = np.nonzero((below < 100).any(axis=1))[0]
    assert words.size, "captions stand between the rows"
    assert words.max() < below.shape[0] - 8
    assert sheet.width > cells[2][2]


def test_only_weak_frames_are_marked(tmp_path: Path) -> None:
    three = panels(tmp_path, 3)
    three[1] = three[1]._replace(accepted=False)
    sheet = contact_sheet(three, "Title")
    clay = [int((np.asarray(sheet.crop(cell(sheet, index))) == CLAY).all(axis=2).sum()) for index in range(3)]
    assert clay[0] == clay[2] == 0
    assert clay[1] > 500


@pytest.mark.parametrize("weight", ["regular", "bold"])
def test_kazakh_and_arabic_letters_have_glyphs_of_their_own(weight: typefaces.Weight) -> None:
    font = lettering.get_font(weight, 40)
    missing = bytes(font.getmask("\uffff"))
    masks = {letter: bytes(font.getmask(letter)) for letter in KAZAKH + ARABIC}
    assert any(missing)
    assert missing not in masks.values()
    assert len({masks[letter] for letter in KAZAKH}) == len(KAZAKH)
    assert lettering.showable(KAZAKH + ARABIC, weight) == KAZAKH + ARABIC


def test_kazakh_captions_are_not_boxes(tmp_path: Path) -> None:
    boxes = sheet_of(tmp_path, "□□□").tobytes()
    assert sheet_of(tmp_path, "中文字").tobytes() == boxes
    assert sheet_of(tmp_path, "Әңғ").tobytes() != boxes
    assert sheet_of(tmp_path, "Әңғ").tobytes() != sheet_of(tmp_path, "Аңг").tobytes()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  two\n lines\t", "two lines"),
        ("a 🐫 camel", "a camel"),
        ("中文 and 한글", "□□ and □□"),
        ("nul\0 bell\a", "nul bell"),
        ("и\u0306", "й"),
        ("👨‍👩‍👧", ""),
        ("", ""),
    ],
)
def test_what_the_font_lacks_is_a_box_or_gone(text: str, shown: str) -> None:
    # A joiner that stands alone is invisible, whether the font has it or not.
    assert lettering.showable(text).strip("\u200d") == shown


@pytest.fixture(params=["raqm", "basic"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "raqm" and not features.check("raqm"):
        pytest.skip("Pillow has no libraqm here")
    monkeypatch.setattr(lettering, "has_raqm", lambda: request.param == "raqm")
    lettering.get_font.cache_clear()
    yield request.param
    lettering.get_font.cache_clear()


@pytest.mark.parametrize(
    "text",
    [
        "ألدار كوسه يخدع التاجر في السوق " * 4,
        "👨‍👩‍👧 🐫 \ufe0f\u200d",
        "x" * 300,
        "Ж" + "\u0301" * 60,
        "\u202e\u2066 backwards \u2069",
        "𐍈 ٣ 中",
        "",
    ],
)
def test_no_text_breaks_the_sheet(text: str, layout: str, tmp_path: Path) -> None:
    six = panels(tmp_path, 6, caption=text, note=text, accepted=False)
    sheet = contact_sheet(six, text, story=text, footer=text)
    assert cell(sheet, 5)[2] <= sheet.width
    assert sheet.width == 1332
    assert sheet.height < 1500
    assert sheet.getpixel((0, sheet.height - 1)) == PAPER


def ink_under(sheet: Image.Image, index: int) -> tuple[int, int]:
    """Left and right end of what is written under a frame, from the frame's left and right edge."""
    left, _, right, bottom = cell(sheet, index)
    words = np.asarray(sheet.convert("L"))[bottom + 8 : bottom + 80, left:right] < 160
    columns = np.nonzero(words.any(axis=0))[0]
    return int(columns.min()), int(right - left - 1 - columns.max())


def test_right_to_left_captions_begin_at_the_right(layout: str, tmp_path: Path) -> None:
    latin = ink_under(sheet_of(tmp_path, "the merchant laughs", note=""), 0)
    arabic = ink_under(sheet_of(tmp_path, "التاجر يضحك", note=""), 0)
    assert latin[0] < 10 < latin[1]
    assert arabic[1] < 10 < arabic[0]


@pytest.mark.parametrize(("width", "height"), [(256, 256), (192, 336), (336, 192)])
def test_dialogue_and_facts_stand_under_the_caption_and_touch_nothing(width: int, height: int, tmp_path: Path) -> None:
    words: dict[str, Any] = {
        "caption": "caption " * 60,
        "dialogue": "the khan: “No.” " * 60,
        "facts": "2A · CU · low · 3 s",
    }
    six = panels(tmp_path, 6, width, height, **words)
    sheet, bare = (contact_sheet(made, "Title") for made in (six, [panel._replace(facts="") for panel in six]))
    assert sheet.height > bare.height
    cells = [cell(sheet, index) for index in range(6)]
    below = np.asarray(sheet.crop((0, cells[0][3] + 4, sheet.width, cells[3][1] - 4)).convert("L"))
    assert np.nonzero((below < 100).any(axis=1))[0].max() < below.shape[0] - 8
    assert (np.asarray(sheet)[-8:] == PAPER).all(), "the page ends in paper: nothing was cut off"


def test_long_captions_end_in_an_ellipsis_within_their_width() -> None:
    font = lettering.get_font("regular", 17)
    words = " ".join(f"word{number}" for number in range(60))
    lines = lettering.wrap(words, font, 300, 4)
    assert len(lines) == 4
    assert all(font.getlength(line) <= 300 for line in lines)
    assert lines[-1].endswith("…")
    assert words.startswith(" ".join(lines)[:-1])
    assert "".join(lettering.wrap("x" * 99, font, 300, 9)) == "x" * 99
    assert lettering.wrap("short", font, 300, 4) == ["short"]
    assert lettering.wrap("tea " + "x" * 99, font, 300, 1)[0].startswith("tea xxxxxxxxxx")


def test_a_missing_or_broken_picture_is_named(tmp_path: Path) -> None:
    two = panels(tmp_path, 2)
    two[1].picture.write_bytes(two[1].picture.read_bytes()[:100])
    with pytest.raises(CorruptFile, match=r"1\.png"):
        contact_sheet(two, "Title")
    two[1].picture.unlink()
    with pytest.raises(ObjectNotFound, match=r"1\.png"):
        contact_sheet(two, "Title")


def test_the_fonts_come_with_their_licence() -> None:
    assert "Bitstream" in (typefaces.FONTS / "LICENSE.txt").read_text(encoding="utf-8")
