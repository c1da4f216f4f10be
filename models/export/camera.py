"""Camera moves over a still picture: which part of it is seen at which time."""

from __future__ import annotations

from models.shots import Movement
from models.sizes import Size

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge in pixels of the picture; fractions make slow moves smooth."""

_PATHS: dict[Movement, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "static": ((1.0, 0.5, 0.5), (1.0, 0.5, 0.5)),
    "pan": ((1.25, 0.0, 0.5), (1.25, 1.0, 0.5)),
    "tilt": ((1.25, 0.5, 1.0), (1.25, 0.5, 0.0)),
    "dolly": ((1.0, 0.5, 0.5), (1.15, 0.5, 0.5)),
    "zoom": ((1.0, 0.5, 0.5), (1.4, 0.5, 0.5)),
}
"""Magnification, and where the part lies in its room, from 0 (left, upper) to 1; at the beginning and at the end."""


def ease(share: float) -> float:
    """Return how far a move is after this share of its time: it starts and ends slowly."""
    return share * share * (3.0 - 2.0 * share)


def view(movement: Movement, size: Size, share: float) -> Box:
    """Return the seen part of a picture, in the picture's own shape.

    Args:
        movement: a panel's.
        size: of the picture.
        share: of the panel's time, 0..1.
    """
    done = ease(share)
    scale, x, y = (begin + (end - begin) * done for begin, end in zip(*_PATHS[movement], strict=True))
    width, height = size.width / scale, size.height / scale
    left, upper = (size.width - width) * x, (size.height - height) * y
    return (left, upper, left + width, upper + height)
