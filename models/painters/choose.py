"""The painter that a run's settings name."""

from __future__ import annotations

from functools import cache

from models.painters.embedded import EmbeddedPainter
from models.painters.painter import Painter
from models.settings import EMBEDDED


@cache
def painter(place: str = EMBEDDED) -> Painter:
    """Return the painter of this process, or those of the Ray cluster at this address."""
    if place == EMBEDDED:
        return EmbeddedPainter()
    from models.painters.ray_painter import RayPainter

    return RayPainter(place)
