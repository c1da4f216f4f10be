"""The painter that a run's settings name."""

from __future__ import annotations

from models.painters.embedded import EmbeddedPainter
from models.painters.painter import Painter

_EMBEDDED = EmbeddedPainter()


def painter() -> Painter:
    """Return the painter."""
    return _EMBEDDED
