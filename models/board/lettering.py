"""Text on pictures in any script: one font for each text, its glyphs, and line wrapping.

libraqm joins and orders right-to-left scripts, if Pillow has it.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import unicodedata
from collections.abc import Iterator

from PIL import ImageDraw, ImageFont, features

from models.board import typefaces
from models.board.typefaces import Face, Weight, lacking, own_face

ELLIPSIS = "…"
LETTERS = "LMN"
"""Letters, vowel signs and digits, by the first letter of their Unicode category."""
Colour = tuple[int, int, int]


@functools.cache
def has_raqm() -> bool:
    """Whether Pillow can lay out right-to-left text."""
    return features.check("raqm") is True


@functools.lru_cache(maxsize=64)
def get_font(weight: Weight, size: int, face: Face | None = None) -> ImageFont.FreeTypeFont:
    """Return a font at this size in pixels: the one from `face_of`, or the embedded one."""
    engine = ImageFont.Layout.RAQM if has_raqm() else ImageFont.Layout.BASIC
    file, number = face or own_face(weight)
    return ImageFont.truetype(file, size, index=number, layout_engine=engine)


def face_of(text: str, weight: Weight = "regular") -> Face:
    """Return the font for this text: the embedded one, unless one of this machine's lacks fewer of its letters."""
    faces = typefaces.find_faces([text], weight)
    return min(faces, key=lambda face: len(lacking([text], [face], LETTERS)))


def showable(text: str, weight: Weight = "regular") -> str:
    """Return the text on one line, limited to what its font can show, as `typefaces.showable` does."""
    return typefaces.showable(text, [face_of(text, weight)])


def lost_letters(text: str, weight: Weight = "regular") -> str:
    """Return the text's letters, vowel signs and digits that its font lacks, each once."""
    return lacking([text], [face_of(text, weight)], LETTERS)


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
