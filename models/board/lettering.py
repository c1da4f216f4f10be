"""Text on pictures in any script: the embedded fonts, their glyphs, and line wrapping.

The fonts are DejaVu Sans (Latin, Cyrillic with the Kazakh letters, Greek, Arabic, Hebrew and more), so that a sheet
looks the same on every machine. libraqm joins and orders right-to-left scripts, if Pillow has it.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from PIL import ImageDraw, ImageFont, features

FONTS = Path(__file__).parent / "fonts"
ELLIPSIS = "…"
BOX = "□"
_NO_CHARACTER = "\uffff"  # Unicode reserves it as no character, so every font draws its missing-glyph sign

Weight = Literal["regular", "bold"]
Colour = tuple[int, int, int]
_FILES: dict[Weight, str] = {"regular": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}


@functools.cache
def has_raqm() -> bool:
    """Whether Pillow can lay out right-to-left text."""
    return features.check("raqm") is True


@functools.lru_cache(maxsize=64)
def get_font(weight: Weight, size: int) -> ImageFont.FreeTypeFont:
    """Return the embedded font at this size in pixels."""
    engine = ImageFont.Layout.RAQM if has_raqm() else ImageFont.Layout.BASIC
    return ImageFont.truetype(FONTS / _FILES[weight], size, layout_engine=engine)


@functools.lru_cache(maxsize=4096)
def can_show(character: str, weight: Weight = "regular") -> bool:
    """Whether the font has a glyph for this character."""
    font = get_font(weight, 24)
    return bytes(font.getmask(character)) != bytes(font.getmask(_NO_CHARACTER))


def showable(text: str, weight: Weight = "regular") -> str:
    """Return the text on one line, limited to what the font can show.

    A letter or digit that the font lacks becomes a box, so that its loss is visible; emoji and control characters are
    removed.
    """
    kept = (_kept(character, weight) for character in unicodedata.normalize("NFC", " ".join(text.split())))
    return " ".join("".join(kept).split())


def lost_letters(text: str, weight: Weight = "regular") -> str:
    """Return the text's letters, vowel signs and digits that the font lacks, each once."""
    plain = unicodedata.normalize("NFC", text)
    lost = (each for each in plain if unicodedata.category(each)[0] in "LMN" and not can_show(each, weight))
    return "".join(dict.fromkeys(lost))


def _kept(character: str, weight: Weight) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Cs", "Cn", "Co"):
        return ""
    if character.isspace() or can_show(character, weight):
        return character
    return BOX if category[0] in "LN" else ""


def reads_right_to_left(text: str) -> bool:
    """Whether the first letter with a direction belongs to a right-to-left script."""
    directions = (unicodedata.bidirectional(character) for character in text)
    return next((direction for direction in directions if direction in ("L", "R", "AL")), "L") != "L"


def wrap(text: str, font: ImageFont.FreeTypeFont, width: float, most: int) -> list[str]:
    """Return showable text in at most `most` lines of this width in pixels; longer text ends in an ellipsis."""
    lines = list(itertools.islice(_lines(text, font, width), most + 1))
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], _shorten(lines[most - 1] + " " + lines[most], font, width)]


def _lines(text: str, font: ImageFont.FreeTypeFont, width: float) -> Iterator[str]:
    line = ""
    for word in text.split():
        longer = f"{line} {word}".lstrip()
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        line = word
        while font.getlength(line) > width:  # a word wider than the line is cut at the line's end
            cut = _fitting(line, font, width)
            yield line[:cut]
            line = line[cut:]
    if line:
        yield line


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: float) -> int:
    """Return how many leading characters fit the width; at least one."""
    return max(1, bisect.bisect_right(range(1, len(text) + 1), width, key=lambda cut: font.getlength(text[:cut])))


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Return the text cut to the width with an ellipsis, between words if that keeps more than half."""
    cut = _fitting(text, font, width - font.getlength(ELLIPSIS))
    at_word = text.rfind(" ", 0, cut + 1)
    return text[: at_word if at_word > cut // 2 else cut].rstrip(" ,.;:—-") + ELLIPSIS


def draw_line(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, float, float],
    text: str,
    font: ImageFont.FreeTypeFont,
    colour: Colour,
    right_to_left: bool,
) -> None:
    """Draw one line of showable text on a baseline, from the left edge, or from the right edge if right-to-left.

    Args:
        draw: the picture to draw on.
        box: left edge, right edge and baseline in pixels.
        text: the line, already wrapped.
        font: from get_font.
        colour: the text's colour.
        right_to_left: the paragraph's direction, since a single line may have no letter with a direction.
    """
    left, right, baseline = box
    direction = ("rtl" if right_to_left else "ltr") if has_raqm() else None
    x, anchor = (right, "rs") if right_to_left else (left, "ls")
    draw.text((x, baseline), text, fill=colour, font=font, anchor=anchor, direction=direction)
