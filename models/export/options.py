"""The options of an export."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from models.option_types import ExportForm, ExportForms, FilmRate, SourceName
from models.records import Options

MOST_PANELS = 12


def _some(forms: tuple[ExportForm, ...]) -> tuple[ExportForm, ...]:
    if not forms:
        raise ValueError(f"name at least one form; valid forms: {', '.join(get_args(ExportForm))}")
    return forms


class ExportOptions(Options):
    """What a board is exported as, and how its pages look."""

    forms: Annotated[ExportForms, AfterValidator(_some)] = ("pdf", "html")
    """What is made, several with commas, as in pdf,html."""
    order: SourceName | None = None
    """Edited .otio file, whose order and seconds are first brought to the storyboard. Unset: as it is."""
    paper: Literal["A4", "Letter"] = "A4"
    """Paper of the PDF."""
    orientation: Literal["landscape", "portrait"] = "landscape"
    """How the PDF's pages are held."""
    panels_per_page: int = Field(6, ge=1, le=MOST_PANELS)
    """How many panels a page of the PDF has."""
    fps: FilmRate = 24
    """Frames a second of films and timelines."""
    captions: bool = True
    """Whether films show what is said, else the caption, in the picture."""
    moves: bool = True
    """Whether a film's camera moves over a picture as its panel says: pan, tilt, dolly or zoom."""
