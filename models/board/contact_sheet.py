"""The contact sheet: all frames of a board on one page, in the layout of a printed storyboard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageOps

from models.board.lettering import Colour, draw_line, face_of, get_font, reads_right_to_left, showable, wrap
from models.board.typefaces import Weight
from models.errors import CorruptFile, ObjectNotFound
from models.sizes import Size

PAPER: Colour = (250, 246, 237)
INK: Colour = (46, 39, 34)
GREY: Colour = (128, 118, 106)
RULE: Colour = (206, 193, 170)
CLAY: Colour = (176, 70, 40)

_SMALLEST, _LARGEST = 384, 512  # limits of a square's side on the sheet in px; other shapes have as many pixels
_NARROWEST = 240  # least width of a column in units, which words need; a narrower picture leaves a part of it empty
_SMOOTH = 4  # masks are drawn 4 times larger and reduced, because Pillow draws round corners without antialiasing


class Panel(NamedTuple):
    """One frame on the sheet."""

    picture: Path
    caption: str
    """Sentence under the picture, in any script."""
    note: str
    """Small print under the caption: image similarity and seed."""
    accepted: bool
    """A frame that was not accepted is marked as weak."""
    dialogue: str = ""
    """What is said, under the caption; may be empty."""
    facts: str = ""
    """Small print over the note: shot number, size, angle, movement and seconds; may be empty."""


class _Style(NamedTuple):
    """Style of a text. Sizes are in units: 384 units are the side of a square picture."""

    weight: Weight
    size: int
    leading: int
    """Distance between baselines."""
    colour: Colour
    most: int
    """Largest number of lines in a column that is as wide as a square; a narrower one may have more."""


_TITLE = _Style("bold", 33, 42, INK, 3)
_STORY = _Style("regular", 18, 26, GREY, 3)
_NUMBER = _Style("bold", 21, 24, CLAY, 1)
_CAPTION = _Style("regular", 17, 24, INK, 4)
_DIALOGUE = _Style("regular", 15, 21, GREY, 3)
_FACTS = _Style("bold", 13, 18, GREY, 1)
_NOTE = _Style("regular", 13, 18, GREY, 1)
_WEAK_NOTE = _NOTE._replace(colour=CLAY)
_FOOT = _NOTE._replace(most=2)
_TAG = _Style("bold", 14, 18, PAPER, 1)


class _Measures(NamedTuple):
    """Measures of pictures on a sheet in pixels."""

    side: int
    """Side of a square with as many pixels as a picture."""
    picture: Size
    column: int
    """Width of a column."""

    @property
    def narrowness(self) -> float:
        """How many times narrower a column is than a square; 1 for a wider one."""
        return max(1.0, self.side / self.column)


class _Page:
    """The sheet while it is drawn from top to bottom; `y` is the next position in pixels."""

    def __init__(self, own: Size, frames: int) -> None:
        self.own, self.columns = own, _columns(frames)
        self.measures = _measures(own)
        self.side, self.picture, self.column = self.measures
        self.margin, self.gutter = self.units(56), self.units(34)
        self.width, longest = _extent(self.measures, frames)
        self.edges = (self.margin, self.width - self.margin)
        self.image = Image.new("RGB", (self.width, longest), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.y = self.margin

    def units(self, count: float) -> int:
        """Convert units to pixels; 384 units are the side of a square picture."""
        return _units(count, self.side)

    def write(self, text: str, style: _Style, edges: tuple[int, int], top: int, backwards: bool | None = None) -> int:
        """Write wrapped text between a left and a right edge, aligned to the side where its script begins.

        Args:
            text: any text.
            style: its style.
            edges: left and right edge in pixels.
            top: top of the first line in pixels.
            backwards: whether to align to the right edge; None: by the text's script.

        Returns:
            The bottom of the last line in pixels.
        """
        left, right = edges
        font = get_font(style.weight, self.units(style.size), face_of(text, style.weight))
        backwards = reads_right_to_left(text) if backwards is None else backwards
        most = math.ceil(style.most * self.measures.narrowness)
        for line in wrap(showable(text, style.weight), font, right - left, most):
            baseline = top + self.units((style.leading + 0.72 * style.size) / 2)  # capitals are 0.72 of the size
            draw_line(self.draw, (left, right, baseline), line, font, style.colour, backwards)
            top += self.units(style.leading)
        return top


def contact_sheet(panels: Sequence[Panel], title: str, *, story: str = "", footer: str = "") -> Image.Image:
    """Draw all frames on one sheet.

    Args:
        panels: 1 to 24 frames in order.
        title: the tale's title.
        story: the story, written under the title; may be empty.
        footer: small print at the bottom of the page; may be empty.

    Returns:
        An RGB picture. Pictures on it have as many pixels as a square of 384 to 512 px and the shape of the first one;
        a picture of another shape gets margins. 6 frames take 3 columns.

    Raises:
        ObjectNotFound: a picture is missing.
        CorruptFile: a picture can't be read.
    """
    assert panels, "a sheet has at least one frame"
    page = _Page(Size(*_open(panels[0].picture).size), len(panels))
    _draw_head(page, title, story)
    for first in range(0, len(panels), page.columns):
        _draw_row(page, panels[first : first + page.columns], first + 1)
    _draw_foot(page, footer)
    return page.image.crop((0, 0, page.width, page.y))


def most_bytes(frames: int, size: Size) -> int:
    """Return an upper limit of a sheet's bytes: a PNG is at most about as large as its raw pixels.

    Args:
        frames: number of frames.
        size: of a picture.
    """
    width, height = _extent(_measures(size), frames)
    return 3 * width * height


def _units(count: float, side: int) -> int:
    return round(count * side / _SMALLEST)


def _measures(own: Size) -> _Measures:
    """Return the measures of pictures of this size."""
    side = min(max(round(math.sqrt(own.pixels)), _SMALLEST), _LARGEST)
    stretch = math.sqrt(own.width / own.height)
    picture = Size(round(side * stretch), round(side / stretch))
    return _Measures(side, picture, max(picture.width, _units(_NARROWEST, side)))


def _extent(measures: _Measures, frames: int) -> tuple[int, int]:
    """Return width and height of a page in pixels; unused height is cropped at the end."""
    side, columns, more = measures.side, _columns(frames), measures.narrowness
    width = 2 * _units(56, side) + columns * measures.column + (columns - 1) * _units(34, side)
    rows = -(-frames // columns)
    return width, _units(560 * more, side) + rows * (measures.picture.height + _units(320 * more, side))


def _columns(frames: int) -> int:
    if frames <= 3:
        return frames
    if frames == 4:
        return 2
    return 3 if frames <= 9 else 4


def _draw_head(page: _Page, title: str, story: str) -> None:
    page.y = page.write(title, _TITLE, page.edges, page.y - page.units(8))
    if story:
        page.y = page.write(story, _STORY, page.edges, page.y + page.units(4))
    page.y += page.units(20)
    _draw_rule(page, diamonds=3)
    page.y += page.units(32)


def _draw_rule(page: _Page, diamonds: int = 0) -> None:
    """Draw a thin line across the page, with a row of diamonds in its middle."""
    middle, height, half = page.width // 2, page.units(7), page.units(diamonds * 11)
    thickness = max(1, page.units(1.5))
    for left, right in ((page.margin, middle - half), (middle + half, page.width - page.margin)):
        page.draw.line((left, page.y, right, page.y), fill=RULE, width=thickness)
    for index in range(diamonds):
        x = middle + page.units((index - (diamonds - 1) / 2) * 18)
        corners = [(x - height, page.y), (x, page.y - height), (x + height, page.y), (x, page.y + height)]
        page.draw.polygon(corners, fill=CLAY if 2 * index + 1 == diamonds else RULE)


def _draw_row(page: _Page, panels: Sequence[Panel], first: int) -> None:
    ends = []
    for column, panel in enumerate(panels):
        left = page.margin + column * (page.column + page.gutter)
        _draw_picture(page, panel, left)
        ends.append(_draw_words(page, panel, first + column, left))
    page.y = max(ends) + page.units(34)


def _draw_picture(page: _Page, panel: Panel, left: int) -> None:
    border = page.units(1.5 if panel.accepted else 4)
    outer, radius = page.picture, page.units(14)
    inner = Size(outer.width - 2 * border, outer.height - 2 * border)
    frame = Image.new("RGB", outer, INK if panel.accepted else CLAY)
    page.image.paste(frame, (left, page.y), _rounded(*outer, radius))
    picture = _open(panel.picture)
    if picture.size == page.own:  # within its border the shape differs by a pixel, which would show as a margin
        picture = ImageOps.fit(picture, inner, Image.Resampling.LANCZOS)
    else:
        picture = ImageOps.pad(picture, inner, Image.Resampling.LANCZOS, color=PAPER)
    page.image.paste(picture, (left + border, page.y + border), _rounded(*inner, radius - border))
    if not panel.accepted:
        _draw_tag(page, "weak", left)


def _draw_tag(page: _Page, word: str, left: int) -> None:
    """Draw a label on the picture's upper right corner."""
    width, height, inset = page.units(62), page.units(26), page.units(14)
    x, y = left + page.picture.width - inset - width, page.y + inset
    label = Image.new("RGB", (width, height), CLAY)
    page.image.paste(label, (x, y), _rounded(width, height, height // 2))
    room = (width - get_font(_TAG.weight, page.units(_TAG.size)).getlength(word)) / 2
    page.write(word, _TAG, (x + int(room), x + width), y + page.units(4))


def _draw_words(page: _Page, panel: Panel, number: int, left: int) -> int:
    """Write number, caption, dialogue, facts and note under a picture, and return their bottom in pixels."""
    top, right = page.y + page.picture.height + page.units(12), left + page.column
    indent = page.units(36 if number > 9 else 24)
    backwards = reads_right_to_left(panel.caption)
    edges = (left, right - indent) if backwards else (left + indent, right)
    page.write(str(number), _NUMBER, (left, right), top, backwards)
    end = page.write(panel.caption, _CAPTION, edges, top)
    if panel.dialogue:
        end = page.write(panel.dialogue, _DIALOGUE, edges, end + page.units(2))
    if panel.facts:
        end = page.write(panel.facts, _FACTS, edges, end + page.units(5), backwards)
    note = _NOTE if panel.accepted else _WEAK_NOTE
    return page.write(panel.note, note, edges, end + page.units(0 if panel.facts else 5), backwards)


def _draw_foot(page: _Page, footer: str) -> None:
    if footer:
        _draw_rule(page)
        page.y = page.write(footer, _FOOT, page.edges, page.y + page.units(12))
        page.y += page.units(26)
    else:
        page.y += page.units(8)


def _rounded(width: int, height: int, radius: int) -> Image.Image:
    """Return the antialiased mask of a rectangle with round corners."""
    mask = Image.new("L", (width * _SMOOTH, height * _SMOOTH))
    edges = (0, 0, width * _SMOOTH - 1, height * _SMOOTH - 1)
    ImageDraw.Draw(mask).rounded_rectangle(edges, radius * _SMOOTH, fill=255)
    return mask.reduce(_SMOOTH)


def _open(path: Path) -> Image.Image:
    """Return the picture in RGB.

    Raises:
        ObjectNotFound: the file is missing.
        CorruptFile: it can't be read.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise ObjectNotFound(f"no picture at {path}") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise CorruptFile(f"{path} is not a readable picture: {error}") from None
