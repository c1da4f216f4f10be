"""Figures of the product's anomaly check on good paintings, which it must accept."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from models.vision import anomalies
from steppe.easel import Easel
from steppe.measures import Figure, share

MOST_REFUSED = 2.0
"""Per cent of good paintings."""


def anomaly_figures(easel: Easel, _drawings: int) -> list[Figure]:
    """Return the share of refused paintings, and the extreme value for each limit of `models.vision.anomalies`."""
    images = [one.image for name in ("plain", "aldar", "unrelated") for one in easel.painted(name)]
    pixels = [np.asarray(image.convert("RGB").resize((anomalies.SIDE,) * 2), np.float32) for image in images]
    broken = [bool(anomalies.find_flaws(image, finite=True)) for image in images]
    copies = [bool(anomalies.find_copies(image, [other])) for image, other in pairwise(images)]
    return [
        share("anomalies", "paintings refused as broken", broken, goal=MOST_REFUSED, better="low"),
        share("anomalies", "paintings refused as copies of another scene's", copies, goal=MOST_REFUSED, better="low"),
        _extreme("roughness, largest", [anomalies.roughness(one) for one in pixels], max),
        _extreme("deviation of brightness, least", [float(one.mean(axis=2).std()) for one in pixels], min),
        _extreme("brightest hundredth, least", [anomalies.brightest(one) for one in pixels], min),
        _extreme("clipped share, largest", [anomalies.clipped_share(image) for image in images], max),
        _extreme("difference of two scenes, least", [anomalies.difference(*pair) for pair in pairwise(pixels)], min),
    ]


def _extreme(name: str, values: list[float], pick: Callable[[list[float]], float]) -> Figure:
    return Figure(group="anomalies", name=name, value=pick(values) if values else None, count=len(values))
