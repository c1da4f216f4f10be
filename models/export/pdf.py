"""The PDF: a title page, then pages of panels, each picture fitted whole into its place, with all that its panel says.

A page has at most `panels_per_page` panels. Words that a place has no room for push the next row down, and from the
page's end go on at the top of the next page; nothing is cut. Letters are shaped by HarfBuzz and stay searchable.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models.board.lettering import reads_right_to_left
from models.board.story_warnings import ANOTHER_FONT, some_of
from models.board.typefaces import Face, find_faces, lacking, own_face, showable
from models.export.options import ExportOptions
from models.export.panels import ExportBoard, ExportPanel
from models.export.pictures import jpeg
from models.export.words import Line, clock, describe, texts_of

if TYPE_CHECKING:
    from fpdf import FPDF

INK, GREY, CLAY, RULE = (46, 39, 34), (112, 102, 92), (176, 70, 40), (206, 193, 170)
COLOURS = {"head": CLAY, "caption": INK, "text": INK, "small": GREY}
MARGIN, GUTTER, FOOT = 12.0, 6.0, 14.0  # mm
POINT = 25.4 / 72  # mm
LEADING = 1.3
TYPICAL = 330  # characters of a panel with many words; for more no room is kept, and they push the next row down
LEFT_TO_RIGHT = "\u200e"
NARROWEST = 28  # characters in a line
FAMILY = "storyboard"


class _Grid(NamedTuple):
    """The places of a page, in mm."""

    columns: int
    rows: int
    width: float
    height: float
    """Of a place: picture and words."""
    picture: float
    """Largest height of a picture."""


def write_pdf(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the board as PDF, and return a warning if no font here has some of its characters."""
    texts = list(texts_of(board))
    faces = find_faces(texts)
    with _written(_Pages(board, options, faces)) as draft:
        pages = draft.page
    with _written(_Pages(board, options, faces, pages)) as final:
        file.write_bytes(final.output())
    lost = lacking(texts, faces)
    return (f"The PDF lacks characters that no font here has ({some_of(lost)}). {ANOTHER_FONT}",) if lost else ()


@contextmanager
def _written(pages: _Pages) -> Iterator[FPDF]:
    """Yield the written document, and close the files of its fonts at the end."""
    try:
        yield pages.written()
    finally:
        for font in pages.pdf.fonts.values():
            font.ttfont.close()  # type: ignore[union-attr]


class _Pages:
    """The document while it is written, from top to bottom; `y` is the next position in mm."""

    def __init__(
        self, board: ExportBoard, options: ExportOptions, faces: Sequence[Face], pages: int | None = None
    ) -> None:
        """Args: pages: their number, for the foot; None: a draft without pictures, which finds it."""
        self.board, self.faces, self.pages = board, faces, pages
        self.pdf, self.most = _document(board, options, faces), options.panels_per_page
        self.size = _font_size(options.panels_per_page)
        self.grid = _grid(self.pdf, board, options.panels_per_page, self.size)
        self.top, self.bottom = MARGIN, self.pdf.h - FOOT
        self.y = self.top

    def written(self) -> FPDF:
        """Write all pages, and return the document."""
        self._title_page()
        panels, columns = self.board.panels, self.grid.columns
        for first in range(0, len(panels), self.most):
            page = panels[first : first + self.most]
            self._new_page()
            for begin in range(0, len(page), columns):
                if self.y + self.grid.height > self.bottom + 0.01:
                    self._new_page()
                self._row(page[begin : begin + columns])
        return self.pdf

    def _new_page(self) -> None:
        pdf = self.pdf
        pdf.add_page()
        self.y = self.top
        half = (pdf.w - 2 * MARGIN) / 2
        number = f"{pdf.page}" if self.pages is None else f"{pdf.page} / {self.pages}"
        title = showable(self.board.title, self.faces)
        while len(title) > 1 and self._width(title, 8) > 1.5 * half:
            title = title[:-2].rstrip() + "…"
        self._paragraph(Line(title, "small"), 8, (MARGIN, pdf.h - 10, 1.6 * half), "L")
        self._paragraph(Line(number, "small"), 8, (MARGIN + 1.6 * half, pdf.h - 10, 0.4 * half), "R")

    def _title_page(self) -> None:
        pdf, board = self.pdf, self.board
        pdf.add_page()
        width, y = pdf.w - 2 * MARGIN, 2 * MARGIN
        y += self._paragraph(Line(board.title, "caption", bold=True), 26, (MARGIN, y, width)) + 3
        if board.story != board.title:
            size = 12 if len(board.story) < 700 else 8
            y += self._paragraph(Line(board.story, "small"), size, (MARGIN, y, width)) + 3
        count = len(board.panels)
        facts = f"{count} panel{'s' if count > 1 else ''}, {clock(board.seconds)}"
        y += self._paragraph(Line(facts, "head"), 11, (MARGIN, y, width)) + 6
        if (room := pdf.h - FOOT - y) > 40:
            self._picture(board.panels[0], (MARGIN, y, width, room))

    def _row(self, panels: Sequence[ExportPanel]) -> None:
        """Write a row of panels, and what has no room on this page on the next ones."""
        grid = self.grid
        lefts = [MARGIN + column * (grid.width + GUTTER) for column in range(len(panels))]
        height = max(min(grid.picture, grid.width * panel.height / panel.width) for panel in panels)
        for panel, left in zip(panels, lefts, strict=True):
            self._picture(panel, (left, self.y, grid.width, height))
        rest = [list(describe(panel)) for panel in panels]
        start, slot = self.y + height + 1.5, self.y + grid.height
        while True:
            ends = [self._column(lines, left, start) for lines, left in zip(rest, lefts, strict=True)]
            if not any(rest):
                break
            self._new_page()
            start = slot = self.y
            for panel, lines in zip(panels, rest, strict=True):
                if lines:
                    lines.insert(0, Line(f"{panel.shot}, continued", "head"))
        self.y = max(slot, *ends) + (0 if max(ends) <= slot else 3)

    def _column(self, lines: list[Line], left: float, y: float) -> float:
        """Write lines under each other, remove those that are written, and return where they end."""
        top = y
        while lines:
            line, width = lines[0], self.grid.width
            height = self._height(line, width)
            if height > (self.bottom - self.top) / 2 and len(line.text) > 1:
                lines[:1] = _halves(line)  # so that the words of every line have room on some page
                continue
            if y > top and y + height > self.bottom:
                break
            y += self._paragraph(line, self._size_of(line), (left, y, width)) + 0.4
            lines.pop(0)
        return y

    def _size_of(self, line: Line) -> float:
        return self.size * {"head": 1.1, "caption": 1.1}.get(line.style, 1.0)

    def _width(self, text: str, size: float) -> float:
        self.pdf.set_font(FAMILY, "", size)
        return float(self.pdf.get_string_width(text))

    def _paragraph(self, line: Line, size: float, place: tuple[float, float, float], align: str | None = None) -> float:
        """Write a line's text at left, top and width, and return its height."""
        return self._set(line, size, place, align, dry=False)

    def _height(self, line: Line, width: float) -> float:
        return self._set(line, self._size_of(line), (0, 0, width), None, dry=True)

    def _set(
        self, line: Line, size: float, place: tuple[float, float, float], align: str | None, *, dry: bool
    ) -> float:
        from fpdf.enums import MethodReturnValue

        pdf, (left, top, width) = self.pdf, place
        # fpdf2 looks for the next letter recursively, and Python's limit is a thousand; the mark counts as one, unseen.
        text = re.sub(r"\W{200}", lambda run: f"{run[0]}{LEFT_TO_RIGHT}", showable(line.text, self.faces))
        pdf.set_font(FAMILY, "B" if line.bold else "", size)
        pdf.set_text_color(*COLOURS[line.style])
        # Where both colours are the same, fpdf2 saves and restores no state around a line; it would restore an earlier
        # font too, and write a paragraph's second line in it, if the first has letters of several fonts.
        pdf.set_fill_color(*COLOURS[line.style])
        pdf.set_xy(left, top)
        how = align or ("R" if reads_right_to_left(text) else "L")
        height = pdf.multi_cell(
            width, size * LEADING * POINT, text, align=how, dry_run=dry, output=MethodReturnValue.HEIGHT
        )
        return float(height)  # type: ignore[arg-type]

    def _picture(self, panel: ExportPanel, place: tuple[float, float, float, float]) -> None:
        """Draw a picture whole and in its own shape at the left of a place, where its words begin."""
        left, top, width, height = place
        scale = min(width / panel.width, height / panel.height)
        w, h = panel.width * scale, panel.height * scale
        x, y = left, top + (height - h) / 2
        if self.pages is not None:
            self.pdf.image(io.BytesIO(jpeg(panel.picture)), x, y, w, h, alt_text=panel.caption)
        self.pdf.set_draw_color(*(RULE if panel.accepted else CLAY))
        self.pdf.set_line_width(0.2 if panel.accepted else 0.8)
        self.pdf.rect(x, y, w, h)


def _document(board: ExportBoard, options: ExportOptions, faces: Sequence[Face]) -> FPDF:
    """Return an empty document with its fonts."""
    from fpdf import FPDF

    # Neither the placeholder for the number of pages nor markdown is wanted: all text is people's.
    pdf = FPDF(orientation=options.orientation, format=options.paper)
    pdf.alias_nb_pages(None)  # type: ignore[arg-type]
    pdf.set_auto_page_break(False)
    pdf.set_margin(0)
    pdf.c_margin = 0
    pdf.set_title(board.title)
    pdf.set_creator("aldar-kose-storyboard")
    pdf.add_font(FAMILY, "", own_face("regular").file)
    pdf.add_font(FAMILY, "B", own_face("bold").file)
    others = [f"other{count}" for count in range(1, len(faces))]
    for name, face in zip(others, faces[1:], strict=True):
        pdf.add_font(name, "", face.file, collection_font_number=face.number)
    pdf.set_fallback_fonts(others, exact_match=False)
    pdf.set_text_shaping(True)
    return pdf


def _halves(line: Line) -> tuple[Line, Line]:
    """Return a paragraph as two, cut between words if there are any near its middle."""
    middle = len(line.text) // 2
    space = line.text.find(" ", middle)
    cut = space if 0 < space < len(line.text) * 0.8 else middle
    return line._replace(text=line.text[:cut]), line._replace(text=line.text[cut:])


def _font_size(panels: int) -> float:
    """Return the size of the words in points."""
    return next(
        size for most, size in ((1, 11.0), (2, 10.0), (4, 9.0), (6, 8.0), (9, 7.0), (99, 6.5)) if panels <= most
    )


def _grid(pdf: FPDF, board: ExportBoard, panels: int, size: float) -> _Grid:
    """Return the grid with the largest pictures."""
    width, height, first = pdf.w - 2 * MARGIN, pdf.h - MARGIN - FOOT, board.panels[0]
    grids = _grids(board, (width, height), panels, size)
    return max(grids, key=lambda grid: _area(grid, first.width / first.height))


def _grids(board: ExportBoard, page: tuple[float, float], panels: int, size: float) -> Iterator[_Grid]:
    lengths = [[len(line.text) for line in describe(panel)] for panel in board.panels]
    for columns in range(1, panels + 1):
        rows = math.ceil(panels / columns)
        column, height = (page[0] - (columns - 1) * GUTTER) / columns, page[1] / rows
        fitting = column / (0.6 * size * POINT)  # characters in a line; one is 0.6 of its size wide
        if (columns - 1) * rows >= panels or (fitting < NARROWEST and columns > 1):
            continue  # as many rows with fewer columns, or lines too short to read
        longest = max(sum(math.ceil(length / fitting) for length in each) for each in lengths)
        lines = min(longest, max(9.0, TYPICAL / fitting + 2)) + 1
        yield _Grid(columns, rows, column, height, height - min(lines * size * LEADING * POINT, 0.6 * height) - 4)


def _area(grid: _Grid, shape: float) -> float:
    """Return the area of a picture of this shape (width / height)."""
    width = min(grid.width, grid.picture * shape)
    return width * width / shape
