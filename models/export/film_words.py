"""A panel's words on a film's picture, as subtitles: light letters on a dark, half transparent ground."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from models.board.lettering import Colour, draw_line, face_of, get_font, reads_right_to_left, showable, wrap
from models.sizes import Size

MOST_LINES = 5
_ALL_LINES = 999
_LETTERS: Colour = (250, 246, 237)
_GROUND = (20, 17, 15, 190)
_LETTER_SIZE, _LEADING, _WIDTH, _MARGIN = 0.038, 1.35, 0.94, 0.03
"""Shares of the film's shorter side; the leading's is of the letters."""


class Words(NamedTuple):
    """Words to lay over a picture."""

    image: Image.Image
    """Of the film's size, transparent where nothing is written."""
    is_cut: bool
    """Whether the words were too long."""


def draw_words(text: str, size: Size) -> Words | None:
    """Return the words at the bottom of a film's picture, or None where there are none.

    Args:
        text: what is said, a line for each speaker.
        size: of the film.
    """
    side = min(size)
    letter = round(side * _LETTER_SIZE)
    font = get_font("regular", letter, face_of(text))
    room = size.width * _WIDTH - 2 * letter
    lines = [line for said in text.splitlines() for line in _balanced(showable(said), font, room)]
    if not lines:
        return None
    is_cut = len(lines) > MOST_LINES
    if is_cut:
        lines = [*lines[: MOST_LINES - 1], wrap(" ".join(lines[MOST_LINES - 1 :]), font, room, 1)[0]]
    backwards = reads_right_to_left(text)
    width, leading = max(map(font.getlength, lines)), letter * _LEADING
    height = leading * len(lines)
    bottom = size.height - side * _MARGIN
    left = (size.width - width) / 2
    image = Image.new("RGBA", size, (*_LETTERS, 0))
    draw = ImageDraw.Draw(image)
    ground = (left - letter * 0.7, bottom - height - letter * 0.45, left + width + letter * 0.7, bottom)
    draw.rounded_rectangle(ground, letter * 0.4, fill=_GROUND)
    for number, line in enumerate(lines):
        baseline = bottom - height - letter * 0.225 + leading * number + leading / 2 + letter * 0.36
        indent = (width - font.getlength(line)) / 2
        draw_line(draw, (left + indent, left + width - indent, baseline), line, font, _LETTERS, backwards)
    return Words(image, is_cut)


def _balanced(text: str, font: ImageFont.FreeTypeFont, room: float) -> list[str]:
    """Return the text in as few lines as the room allows, all about equally long."""
    lines = wrap(text, font, room, _ALL_LINES)
    for share in range(95, 45, -5):
        narrower = wrap(text, font, room * share / 100, _ALL_LINES)
        if len(narrower) > len(lines):
            break
        lines = narrower
    return lines
