"""Seconds as whole frames of a film."""

from __future__ import annotations

import math

from models.export.panels import ExportBoard


def cuts(board: ExportBoard) -> tuple[int, ...]:
    """Return the frame at which each panel begins, and last the frame after the end.

    The times from the beginning are rounded, not the panels' lengths, so that a film never drifts from its sound. A
    panel has one frame at least.
    """
    found = [0]
    for panel in board.panels:
        found.append(max(found[-1] + 1, math.floor(panel.end * board.fps + 0.5)))
    return tuple(found)
