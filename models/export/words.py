"""The words of a panel as pages show them, and all texts of a board."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from models.export.panels import ExportBoard, ExportPanel

Style = Literal["head", "caption", "text", "small"]


class Line(NamedTuple):
    """One paragraph."""

    text: str
    style: Style
    bold: bool = False


def describe(panel: ExportPanel) -> Iterator[Line]:
    """Yield all that a panel says, a paragraph each."""
    said = panel.panel
    yield Line(f"{panel.shot} · {facts(panel)}", "head", bold=True)
    yield Line(panel.caption, "caption")
    yield from (Line(f"{speech.speaker}: {speech.text}", "text") for speech in said.dialogue)
    for name, text in (("Action", panel.action), ("Sound", said.sound), ("Notes", said.notes)):
        if text:
            yield Line(f"{name}: {text}", "small")


def facts(panel: ExportPanel) -> str:
    """Return how a panel is filmed, in a line: "MS · eye level · static · 3 s"."""
    said = panel.panel
    parts = [said.shot_size, said.angle, said.movement, f"{said.seconds:g} s"]
    if panel.shot != str(panel.frame):
        parts.append(f"frame {panel.frame}")
    if not panel.accepted:
        parts.append("weak")
    return " · ".join(parts)


def texts_of(board: ExportBoard) -> Iterator[str]:
    """Yield every text of a board that people wrote."""
    yield board.title
    yield board.story
    for panel in board.panels:
        yield from (line.text for line in describe(panel))


def clock(seconds: float) -> str:
    """Return a time as 1:02.5."""
    minutes, rest = divmod(round(seconds, 2), 60)
    whole, _, part = f"{rest:05.2f}".partition(".")
    part = part.rstrip("0")
    return f"{int(minutes)}:{whole}{'.' if part else ''}{part}"
