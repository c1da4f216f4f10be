"""The PDF: a title page, then pages of panels, each picture fitted whole into its place, with all that its panel says.

A page has at most `panels_per_page` panels. Words that a place has no room for push the next row down, and from the
page's end go on at the top of the next page; nothing is cut. Letters are shaped by HarfBuzz and stay searchable.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
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
TYPICAL = 330  # characters of an ordinary panel, for which a place keeps room
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
    draft = _Pages(board, options, faces).written()
    final = _Pages(board, options, faces, pages=draft.page).written()
    file.write_bytes(final.output())
    for font in (*draft.fonts.values(), *final.fonts.values()):
        font.ttfont.close()  # type: ignore[union-attr]
    lost = lacking(texts, faces)
    return (f"The PDF lacks characters that no font here has ({some_of(lost)}). {ANOTHER_FONT}",) if lost else ()


class _Pages:
    """The document while it is written, from top to bottom; `y` is the next position in mm."""

    def __init__(
        self, board: ExportBoard, options: ExportOptions, faces: Sequence[Face], pages: int | None = None
    ) -> None:
        """Args: pages: their number, for the foot; None: a draft without pictures, which finds it."""
        self.board, self.faces, self.pages = board, faces, pages
        self.pdf, self.most = _document(board, options, faces), options.panels_per_page
        self.size = _font_size(options.panels_per_page)
        self.grid = _grid(self.pdf, board.panels[0], options.panels_per_page, self.size)
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
            if y > top and y + self._height(line, width) > self.bottom:
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
        text = showable(line.text, self.faces)
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
        """Draw a picture whole and in its own shape in the middle of a place."""
        left, top, width, height = place
        scale = min(width / panel.width, height / panel.height)
        w, h = panel.width * scale, panel.height * scale
        x, y = left + (width - w) / 2, top + (height - h) / 2
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


def _font_size(panels: int) -> float:
    """Return the size of the words in points."""
    return next(
        size for most, size in ((1, 11.0), (2, 10.0), (4, 9.0), (6, 8.0), (9, 7.0), (99, 6.5)) if panels <= most
    )


def _grid(pdf: FPDF, first: ExportPanel, panels: int, size: float) -> _Grid:
    """Return the grid with the largest pictures."""
    width, height = pdf.w - 2 * MARGIN, pdf.h - MARGIN - FOOT
    return max(_grids(width, height, panels, size), key=lambda grid: _area(grid, first.width / first.height))


def _grids(width: float, height: float, panels: int, size: float) -> Iterator[_Grid]:
    for columns in range(1, panels + 1):
        rows = math.ceil(panels / columns)
        if (columns - 1) * rows >= panels:
            continue  # as many rows with fewer columns
        column = (width - (columns - 1) * GUTTER) / columns
        lines = max(9.0, TYPICAL * 0.56 * size * POINT / column + 2)  # a letter is 0.56 of its size wide
        words = min(lines * size * LEADING * POINT, 0.6 * height / rows)
        yield _Grid(columns, rows, column, height / rows, height / rows - words - 4)


def _area(grid: _Grid, shape: float) -> float:
    """Return the area of a picture of this shape (width / height)."""
    width = min(grid.width, grid.picture * shape)
    return width * width / shape
