"""The options of an export."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.option_types import ExportForms
from models.records import Options

MOST_PANELS = 12


class ExportOptions(Options):
    """What a board is exported as, and how its pages look."""

    forms: ExportForms = Field(("srt",), min_length=1)
    """What is made, several with commas."""
    paper: Literal["A4", "Letter"] = "A4"
    """Paper of the PDF."""
    orientation: Literal["landscape", "portrait"] = "landscape"
    """How the PDF's pages are held."""
    panels_per_page: int = Field(6, ge=1, le=MOST_PANELS)
    """How many panels a page of the PDF has."""
    fps: Literal[24, 25, 30] = 24
    """Frames a second of films and timelines."""
    captions: bool = True
    """Whether films show what is said, else the caption, in the picture."""
    moves: bool = True
    """Whether a film's camera moves over a picture as its panel says: pan, tilt, dolly or zoom."""
