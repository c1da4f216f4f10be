"""What a picture shows of a place, in the units of `steppe.stage`: a square picture is one unit wide and high.

A picture of another shape shows more or less of a place: what stands in a square is spread over its width, and what is
in the sky is moved to its height. In a square nothing moves.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class View:
    """The view of a place: time, height of the horizon, zoom, random numbers, and the picture's four edges."""

    time: str
    horizon: float
    zoom: float
    rng: random.Random
    left: float = 0.0
    right: float = 1.0
    bottom: float = 0.0
    top: float = 1.0

    def jitter(self, amount: float) -> float:
        """Return a small random shift."""
        return self.rng.uniform(-amount, amount)

    @property
    def wide(self) -> float:
        """The picture's width."""
        return self.right - self.left

    def across(self, x: float) -> float:
        """Return where a square's `x` is in this width."""
        return self.left + x * self.wide

    def above(self, y: float) -> float:
        """Return where a square's `y` above the horizon is in this height."""
        return y + (self.top - 1.0) * (y - self.horizon) / (1.0 - self.horizon)

    def below(self, y: float) -> float:
        """Return where a square's `y` below the horizon is in this depth."""
        return y + self.bottom * (self.horizon - y) / self.horizon
