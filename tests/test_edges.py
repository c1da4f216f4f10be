"""Lines for the ControlNet: edges of pictures, and people's sketches of every kind."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tiny_models import control

from models.diffusion.edges import canny_edges, control_image, open_picture, sketch_lines
from models.errors import InputError
from models.sizes import Size


def grey(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image.convert("L"))


def test_canny_finds_the_outline_and_nothing_else(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 64), (200, 180, 120))
    ImageDraw.Draw(image).rectangle((16, 16, 48, 48), fill=(30, 60, 160))
    image.save(tmp_path / "square.png")
    lines = grey(control_image(control(tmp_path / "square.png"), Size.square(128)))
    assert lines.shape == (128, 128)
    assert set(np.unique(lines)) == {0, 255}
    assert lines[36:92, 28:38].max(axis=1).all()
    assert not lines[45:85, 45:85].any()


def test_a_picture_that_is_not_square_keeps_its_shape() -> None:
    wide = Image.new("RGB", (200, 100), "white")
    ImageDraw.Draw(wide).ellipse((80, 30, 120, 70), fill="black")
    rows, columns = np.nonzero(grey(canny_edges(wide, Size.square(128))))
    assert abs((rows.max() - rows.min()) - (columns.max() - columns.min())) <= 2
    assert rows.min() > 40, "the margin's border is no edge"


@pytest.mark.parametrize("size", [Size(336, 192), Size(192, 336)])
def test_a_sketch_of_another_shape_is_neither_stretched_nor_cut(size: Size) -> None:
    sketch = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(sketch).ellipse((10, 10, 190, 190), outline="black", width=6)
    lines = sketch_lines(sketch, size)
    rows, columns = np.nonzero(grey(lines))
    assert lines.size == size
    assert abs((rows.max() - rows.min()) - (columns.max() - columns.min())) <= 1
    assert rows.max() - rows.min() > 0.85 * min(size), "as large as the picture's shorter side allows"
    assert abs(rows.mean() - size.height / 2) < 2
    assert abs(columns.mean() - size.width / 2) < 2


def drawing(ink: str, paper: str) -> Image.Image:
    image = Image.new("RGB", (200, 200), paper)
    ImageDraw.Draw(image).line((20, 20, 180, 180), fill=ink, width=4)
    return image


@pytest.mark.parametrize(
    ("ink", "paper"), [("black", "white"), ("white", "black"), ("#555", "#bbb"), ("navy", "beige")]
)
def test_a_sketch_becomes_white_lines_on_black(ink: str, paper: str) -> None:
    lines = grey(sketch_lines(drawing(ink, paper), Size.square(64)))
    assert set(np.unique(lines)) == {0, 255}
    assert lines[32, 32] == 255
    assert 0 < (lines > 0).mean() < 0.06
    assert not lines[40:, :20].any()


def test_a_photo_given_as_a_sketch_is_traced() -> None:
    photo = Image.new("RGB", (128, 128), (180, 200, 230))
    ImageDraw.Draw(photo).rectangle((0, 70, 128, 128), fill=(40, 60, 30))
    lines = grey(sketch_lines(photo, Size.square(64)))
    assert 0 < (lines > 0).mean() < 0.06


def test_a_blank_sketch_is_refused_by_name(tmp_path: Path) -> None:
    Image.new("L", (50, 50), 250).save(tmp_path / "blank.png")
    with pytest.raises(InputError, match=r"blank\.png: the sketch is blank"):
        control_image(control(tmp_path / "blank.png", kind="sketch"), Size.square(64))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_sketches_of_any_mode_are_read(tmp_path: Path, mode: str) -> None:
    plain = drawing("black", "white")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(plain.convert("L"), dtype=np.uint16) * 257)
    else:
        image = plain.convert(mode)
    file = tmp_path / ("sketch.tif" if mode in ("CMYK", "F") else "sketch.png")
    image.save(file)
    lines = grey(control_image(control(file, kind="sketch"), Size.square(64)))
    assert lines[32, 32] == 255
    assert (lines > 0).mean() < 0.06


def test_transparent_paper_is_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    ImageDraw.Draw(clear).line((8, 8, 56, 56), fill="black", width=3)
    clear.save(tmp_path / "clear.png")
    assert open_picture(tmp_path / "clear.png").getpixel((60, 2)) == (255, 255, 255)
    assert grey(control_image(control(tmp_path / "clear.png", kind="sketch"), Size.square(64)))[32, 32] == 255


def test_a_photo_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    image, exif = Image.new("RGB", (80, 40), "red"), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert open_picture(tmp_path / "turned.jpg").size == (40, 80)


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    half = io.BytesIO()
    drawing("black", "white").save(half, "PNG")
    (tmp_path / "half.png").write_bytes(half.getvalue()[:200])
    for name in ("text.png", "half.png", "gone.png"):
        with pytest.raises(InputError, match=name):
            open_picture(tmp_path / name)
