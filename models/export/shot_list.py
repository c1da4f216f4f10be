"""The shot list as CSV and as XLSX with thumbnails: a row each panel. No cell is ever a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from models.export.options import ExportOptions
from models.export.panels import ExportBoard, ExportPanel
from models.export.pictures import jpeg

THUMBNAIL = 200  # longer side, in pixels
SCORES = ("Image similarity", "Prompt score")
"""Columns that are shown with two digits."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of texts that spreadsheets take for a formula when they open a CSV."""
COLUMNS = {
    "Shot": 7,
    "Frame": 7,
    "Start": 7,
    "End": 7,
    "Seconds": 8,
    "Size": 7,
    "Angle": 12,
    "Movement": 10,
    "Caption": 32,
    "Dialogue": 32,
    "Action": 20,
    "Sound": 14,
    "Notes": 22,
    "Picture": 15,
    "Takes": 6,
    "Seed": 8,
    "Verdict": 10,
    "Image similarity": 10,
    "Prompt score": 10,
}
"""Heading -> width in characters."""

Cell = str | int | float | None


def write_csv(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the shot list as CSV in UTF-8, with a mark at its beginning by which Excel knows; it has no warnings."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    rows.writerows([_plain(cell) for cell in _row(panel)] for panel in board.panels)
    file.write_bytes(text.getvalue().encode("utf-8-sig"))
    return ()


def write_xlsx(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the shot list as an Excel workbook with a thumbnail in each row; it has no warnings."""
    from xlsxwriter import Workbook

    buffer = io.BytesIO()
    with Workbook(buffer, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        book.set_properties({"title": board.title, "comments": board.story})
        sheet = book.add_worksheet("Shot list")
        head = book.add_format({"bold": True, "bg_color": "#EFE6D5", "border": 1, "text_wrap": True, "valign": "top"})
        body = book.add_format({"text_wrap": True, "valign": "top", "border": 1, "border_color": "#CEC1AA"})
        score = book.add_format({"num_format": "0.00", "valign": "top", "border": 1, "border_color": "#CEC1AA"})
        styles = [score if name in SCORES else body for name in COLUMNS]
        widths = {"Panel": THUMBNAIL / 7 + 1, **COLUMNS}
        for column, (name, width) in enumerate(widths.items()):
            sheet.set_column(column, column, width)
            sheet.write_string(0, column, name, head)
        sheet.set_row_pixels(0, 36)  # two lines
        for row, panel in enumerate(board.panels, start=1):
            sheet.write_blank(row, 0, None, body)
            for column, (cell, style) in enumerate(zip(_row(panel), styles, strict=True), start=1):
                _write(sheet, (row, column), cell, style)
            thumbnail = jpeg(panel.picture, THUMBNAIL)
            with Image.open(io.BytesIO(thumbnail)) as image:
                sheet.set_row_pixels(row, image.height + 8)
            place = {"image_data": io.BytesIO(thumbnail), "x_offset": 4, "y_offset": 4, "object_position": 1}
            sheet.insert_image(row, 0, panel.picture.name, {**place, "description": panel.caption})
        sheet.freeze_panes(1, 2)
        sheet.autofilter(0, 1, len(board.panels), len(COLUMNS))
        sheet.set_landscape()
        sheet.set_paper(9 if options.paper == "A4" else 1)
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(0)
    file.write_bytes(buffer.getvalue())
    return ()


def _write(sheet: object, place: Sequence[int], cell: Cell, style: object) -> None:
    """Write a cell by its type; a text stays a text whatever it begins with."""
    how = "write_blank" if cell is None else "write_string" if isinstance(cell, str) else "write_number"
    getattr(sheet, how)(*place, cell, style)


def _row(panel: ExportPanel) -> list[Cell]:
    said = panel.panel
    dialogue = "\n".join(f"{speech.speaker}: {speech.text}" for speech in said.dialogue)
    return [
        panel.shot,
        panel.frame,
        panel.start,
        panel.end,
        said.seconds,
        said.shot_size,
        said.angle,
        said.movement,
        panel.caption,
        dialogue,
        panel.action,
        said.sound,
        said.notes,
        panel.picture.name,
        len(panel.takes),
        panel.seed,
        "accepted" if panel.accepted else "weak",
        panel.consistency,
        panel.prompt_score,
    ]


def _plain(cell: Cell) -> Cell:
    """Return a text with an apostrophe before what spreadsheets would compute."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
