"""The picture of a comparison: a row each checkpoint, the base first; a column each prompt; scores; the chosen one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from models.board.contact_sheet import CLAY, GREY, INK, PAPER, RULE
from models.board.lettering import Colour, draw_line, face_of, get_font, reads_right_to_left, showable, wrap
from models.board.report import show_score
from models.board.typefaces import Weight
from models.lora.comparison.choice import Measured, thin_evenly
from models.lora.comparison.samples import Painted, Sample
from models.lora.data.pictures import open_picture

WIDTH = 1600
"""Of the grid at most, in pixels."""
MOST_ROWS = 16
"""Checkpoints that are shown at most, the chosen one always; more are thinned evenly."""
MOST_COLUMNS = 12
MOST_UNRELATED = 4
"""Of the columns, where there are more prompts than columns."""
LEGEND = (
    "image similarity: to the training pictures · text–image similarity: to the prompts · "
    "variety: of its own pictures · "
    "drift: what prompts without the trigger word lost, 1 is all that told them apart (lower is better)"
)

TITLES = {
    "image_similarity": "image similarity",
    "text_image_similarity": "text–image similarity",
    "variety": "variety",
    "drift": "drift",
}
"""Measured quantities, and what they are called on pages."""
DECIMALS = {"image_similarity": 3, "text_image_similarity": 3, "variety": 3, "drift": 2}
"""With how many each score is shown."""

_TINT: Colour = (244, 230, 208)
_MARGIN, _LABEL, _GAP, _BETWEEN_KINDS = 32, 256, 8, 22  # pixels
_LARGEST = 256


class GridTexts(NamedTuple):
    """The words of a grid."""

    title: str
    reason: str
    character: tuple[str, ...]
    """Prompts with the trigger word."""
    unrelated: tuple[str, ...]
    """Those without it."""


class GridRow(NamedTuple):
    """One checkpoint, or the base."""

    name: str
    scores: Measured
    failed: tuple[str, ...]
    """The bars that it does not reach, each beginning with the name of its score."""
    painted: Painted


class _Style(NamedTuple):
    """How a run of text looks, in pixels."""

    weight: Weight
    size: int
    leading: int
    colour: Colour
    most: int = 1
    """Lines at most."""


_TITLE = _Style("bold", 30, 38, INK, 2)
_REASON = _Style("regular", 19, 27, INK, 3)
_KIND = _Style("bold", 16, 24, GREY, 2)
_HEADING = _Style("regular", 15, 20, INK, 7)
_NAME = _Style("bold", 19, 26, INK)
_SCORE = _Style("regular", 17, 22, INK)
_NOTE = _Style("regular", 16, 22, GREY, 6)
_TAG = _Style("bold", 15, 20, PAPER)


class _Column(NamedTuple):
    """One prompt of the grid."""

    kind: int
    """0: with the trigger word, 1: without it."""
    prompt: int
    """Its place among its kind."""
    left: int


class _Sheet:
    """The grid while it is drawn, from top to bottom."""

    def __init__(self, texts: GridTexts, rows: int) -> None:
        counts = _shown_prompts(texts)
        room = WIDTH - 2 * _MARGIN - _LABEL - _BETWEEN_KINDS
        self.side = min(_LARGEST, room // sum(counts) - _GAP)
        left = _MARGIN + _LABEL
        self.columns: list[_Column] = []
        for kind, count in enumerate(counts):
            self.columns += [_Column(kind, prompt, left + prompt * (self.side + _GAP)) for prompt in range(count)]
            left += count * (self.side + _GAP) + _BETWEEN_KINDS
        self.width = self.columns[-1].left + self.side + _MARGIN
        self.row_height = max(self.side, _NAME.leading + len(DECIMALS) * _SCORE.leading + _TAG.leading + 16)
        longest = 900 + rows * (self.row_height + 2 * _GAP)  # more than is needed; cut to what was used
        self.image = Image.new("RGB", (self.width, longest), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def write(self, text: str, style: _Style, left: int, right: int, top: int) -> int:
        """Wrapped text between two edges, from the side where its script begins; returns where it ends."""
        font = get_font(style.weight, style.size, face_of(text, style.weight))
        backwards = reads_right_to_left(text)
        for line in wrap(showable(text, style.weight), font, right - left, style.most):
            baseline = top + (style.leading + 0.72 * style.size) / 2  # capitals are 0.72 of the size
            draw_line(self.draw, (left, right, baseline), line, font, style.colour, backwards)
            top += style.leading
        return top


def draw_grid(texts: GridTexts, rows: Sequence[GridRow], chosen: int) -> Image.Image:
    """All that was painted, with the first seed: a row each checkpoint, the base first; a column each prompt.

    Args:
        texts: the words.
        rows: the base, then one checkpoint at least. Of many, `MOST_ROWS` are shown.
        chosen: place in `rows` of the one that was chosen: it is framed.

    Returns:
        an RGB picture of 1600 pixels in width at most.

    Raises:
        InputError: a picture is gone or broken.
    """
    shown = _shown_rows(len(rows), chosen)
    sheet = _Sheet(texts, len(shown))
    top = _draw_head(sheet, texts)
    for place in shown:
        top = _draw_row(sheet, rows[place], top, chosen=place == chosen)
    notes = " · ".join([LEGEND, *_notes(texts, len(rows) - 1, len(shown) - 1)])
    top = sheet.write(notes, _NOTE, _MARGIN, sheet.width - _MARGIN, top + 6)
    return sheet.image.crop((0, 0, sheet.width, top + _MARGIN // 2))


def _shown_prompts(texts: GridTexts) -> tuple[int, int]:
    """How many prompts of each kind have a column."""
    unrelated = min(len(texts.unrelated), max(MOST_UNRELATED, MOST_COLUMNS - len(texts.character)))
    return min(len(texts.character), MOST_COLUMNS - unrelated), unrelated


def _shown_rows(count: int, chosen: int) -> list[int]:
    """Places of the rows that are drawn: the base, the chosen one, and the others thinned evenly."""
    if count <= MOST_ROWS + 1:
        return list(range(count))
    return sorted({0, chosen, *thin_evenly(range(1, count), MOST_ROWS - 1)})


def _draw_head(sheet: _Sheet, texts: GridTexts) -> int:
    """Title, reason and the prompts over their columns; returns where the rows begin."""
    edges = (_MARGIN, sheet.width - _MARGIN)
    top = sheet.write(texts.title, _TITLE, *edges, _MARGIN - 6)
    top = sheet.write(texts.reason, _REASON, *edges, top + 2) + 14
    kinds = ("with the trigger word", "without it: should still show what they say")
    ends = []
    for kind, words in enumerate(kinds):
        own = [column.left for column in sheet.columns if column.kind == kind]
        ends.append(sheet.write(words, _KIND, own[0], own[-1] + sheet.side, top))
    for kind in range(len(kinds)):
        own = [column.left for column in sheet.columns if column.kind == kind]
        sheet.draw.line((own[0], max(ends) + 2, own[-1] + sheet.side, max(ends) + 2), fill=RULE, width=2)
    top, ends = max(ends) + 8, []
    prompts, cut = (texts.character, texts.unrelated), len(_common_end(texts))
    for column in sheet.columns:
        prompt = prompts[column.kind][column.prompt]
        words = prompt[: len(prompt) - cut]
        ends.append(sheet.write(words, _HEADING, column.left, column.left + sheet.side, top))
    return max(ends) + 12


def _common_end(texts: GridTexts) -> str:
    """The style that all prompts end in (", storybook illustration"): said once, it need not be over every column."""
    prompts = [prompt.split(", ") for prompt in (*texts.character, *texts.unrelated)]
    common: list[str] = []
    for parts in zip(*(reversed(prompt[1:]) for prompt in prompts), strict=False):
        if len(set(parts)) > 1:
            break
        common.insert(0, parts[0])
    return "".join(f", {part}" for part in common)


def _notes(texts: GridTexts, checkpoints: int, shown: int) -> Iterator[str]:
    """What the grid leaves out."""
    if end := _common_end(texts):
        yield f"every prompt ends in “{end.removeprefix(', ')}”"
    prompts, columns = len(texts.character) + len(texts.unrelated), sum(_shown_prompts(texts))
    if columns < prompts:
        yield f"{columns} of {prompts} prompts are shown, all are measured"
    if shown < checkpoints:
        yield f"{shown} of {checkpoints} checkpoints are shown, all are measured"


def _draw_row(sheet: _Sheet, row: GridRow, top: int, *, chosen: bool) -> int:
    """One checkpoint; returns where the next begins."""
    bottom = top + sheet.row_height
    if chosen:
        box = (_MARGIN - 16, top - 7, sheet.width - _MARGIN + 16, bottom + 7)
        sheet.draw.rectangle(box, fill=_TINT, outline=CLAY, width=4)
    _draw_label(sheet, row, top, chosen=chosen)
    for column in sheet.columns:
        samples = (row.painted.character, row.painted.unrelated)[column.kind][column.prompt]
        _draw_sample(sheet, samples[0], (column.left, top))
    return bottom + 2 * _GAP


def _draw_label(sheet: _Sheet, row: GridRow, top: int, *, chosen: bool) -> None:
    """Name and scores; a score that does not reach its bar is red."""
    left, right = _MARGIN, _MARGIN + _LABEL - 20
    top = sheet.write(row.name, _NAME, left, right, top)
    for name, title in TITLES.items():
        failed = any(text.startswith(title) for text in row.failed)
        style = _SCORE._replace(weight="bold", colour=CLAY) if failed else _SCORE
        score = show_score(getattr(row.scores, name), DECIMALS[name])
        sheet.write(title, style if failed else style._replace(colour=GREY), left, right, top)
        width = get_font(style.weight, style.size).getlength(score)
        top = sheet.write(score, style, round(right - width), right + 1, top)
    if row.painted.broken:
        sheet.write(f"{row.painted.broken} not finite", _SCORE._replace(weight="bold", colour=CLAY), left, right, top)
    elif chosen:
        sheet.draw.rounded_rectangle((left, top + 6, left + 84, top + 28), 11, fill=CLAY)
        sheet.write("chosen", _TAG, left + 13, right, top + 7)


def _draw_sample(sheet: _Sheet, sample: Sample, corner: tuple[int, int]) -> None:
    left, top = corner
    picture = open_picture(Path(sample.file)).resize((sheet.side, sheet.side), Image.Resampling.LANCZOS)
    sheet.image.paste(picture, corner)
    sheet.draw.rectangle((left, top, left + sheet.side - 1, top + sheet.side - 1), outline=INK)
    if not sample.finite:
        middle = top + (sheet.side - _TAG.leading) // 2
        sheet.write("not finite", _TAG, left + 8, left + sheet.side, middle)
