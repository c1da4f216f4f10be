"""The training set on one sheet, and as the dashboard's markdown."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.board.contact_sheet import CLAY, RULE
from models.errors import InputError
from models.lora.data.set_sheet import set_markdown, set_sheet
from models.lora.records import TrainingPicture, TrainingSet

PICTURE_COLOUR = (20, 60, 160)


def picture(file: Path, caption: str = "hero", size: tuple[int, int] = (64, 64)) -> TrainingPicture:
    file.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, PICTURE_COLOUR).save(file)
    return TrainingPicture(file=str(file), sha256="0" * 64, caption=caption, width=size[0], height=size[1])


def small_set(folder: Path) -> TrainingSet:
    """11 pictures to learn, 1 held out, 2 prior ones from another folder."""
    train = tuple(picture(folder / "own" / f"{number:02}_a.png") for number in range(11))
    prior = tuple(picture(folder / "prior" / f"p{number}.png", "a man", (80, 64)) for number in range(2))
    validation = (picture(folder / "own" / "held.png"),)
    return TrainingSet(folder=str(folder / "own"), train=train, validation=validation, prior=prior)


def opened(sheet: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(sheet)) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB"), dtype=int)


def test_a_frame_says_what_a_picture_is_for(tmp_path: Path) -> None:
    pixels = opened(set_sheet(small_set(tmp_path), columns=7, cell=60))
    assert pixels.shape[:2] == (2 * 6 + 2 * 66 + 3 * 22 + 6, 7 * 66 + 6)

    def frame(row: int, column: int) -> np.ndarray:
        """The middle line of a frame's upper edge."""
        x, y = 6 + 66 * column, 6 + 66 * row
        assert np.abs(pixels[y + 10 : y + 50, x + 10 : x + 50] - PICTURE_COLOUR).max() < 25
        edge: np.ndarray = pixels[y + 1, x + 10 : x + 50].mean(axis=0)
        return edge

    assert np.abs(frame(0, 0) - CLAY).max() < 40
    assert np.abs(frame(0, 1) - RULE).max() < 40
    assert np.abs(frame(1, 4) - RULE).max() < 40
    assert np.abs(frame(1, 5) - RULE).max() > 80
    assert np.abs(frame(1, 6) - CLAY).max() > 80
    legend = pixels[2 * 6 + 2 * 66 :]
    assert (legend[:, 26:].min(axis=(1, 2)) < 100).sum() > 20, "three lines of dark letters"


def test_one_picture_makes_a_sheet_that_the_legend_fits_on(tmp_path: Path) -> None:
    one = TrainingSet(folder=str(tmp_path), train=(picture(tmp_path / "a.png"),))
    assert opened(set_sheet(one)).shape == (2 * 6 + 102 + 22 + 6, 320, 3)


def test_a_sheet_of_a_large_set_says_how_many_more(tmp_path: Path) -> None:
    small = small_set(tmp_path)
    large = small.model_copy(update={"train": small.train * 25})
    sheet = set_sheet(large, columns=20, cell=24)
    assert opened(sheet).shape[:2] == (2 * 6 + 10 * 30 + 4 * 22 + 6, 20 * 30 + 6), "200 pictures, 4 lines"
    markdown = set_markdown(large, sheet)
    assert (markdown.count("| **validation** |"), markdown.count("| train |")) == (1, 199)
    assert "\n\nand 78 more, not shown\n" in markdown
    assert "not shown" not in set_markdown(small, sheet)


def test_the_markdown_shows_every_picture_with_its_caption_as_it_is(tmp_path: Path) -> None:
    small = small_set(tmp_path)
    odd = picture(tmp_path / "own" / "Алдар\nКөсе.png", "hero | <b>rides</b> *fast* [x](y) 🐎", (64, 90))
    whole = small.model_copy(update={"train": (*small.train, odd)})
    sheet = set_sheet(whole)
    markdown = set_markdown(whole, sheet)
    data = markdown.partition("![training pictures](data:image/jpeg;base64,")[2].partition(")")[0]
    assert base64.b64decode(data) == sheet
    for line in [
        "- **Validation:** 1 (measured, not trained on)",
        "- **Train:** 12 (the character)",
        "| held.png | **validation** | 64x64 | hero |",
        r"| 03\_a.png | train | 64x64 | hero |",
        "| p1.png | **prior** | 80x64 | a man |",
        r"| Алдар Көсе.png | train | 64x90 | hero \| \<b\>rides\</b\> \*fast\* \[x\](y) 🐎 |",
    ]:
        assert f"\n{line}\n" in markdown
    assert markdown.count("\n| ") == 2 + 15


def test_a_picture_that_is_gone_is_named(tmp_path: Path) -> None:
    small = small_set(tmp_path)
    Path(small.train[3].file).unlink()
    with pytest.raises(InputError, match=r"03_a\.png: no such picture"):
        set_sheet(small)
