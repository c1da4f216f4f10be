"""The record of a figure, and the formulas behind the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure: a line of the table."""

    group: str
    """Its measurement, as `--only` names it."""
    name: str
    value: float | None
    """None if the sample was empty, never zero."""
    unit: str = ""
    count: int
    """Number of pictures, pairs or answers in the sample."""
    goal: float | None = None
    """None if the figure is only reported."""
    better: Literal["high", "low"] = "high"
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal, False for a figure that was not measured."""
        if self.goal is None:
            return None
        if self.value is None:
            return False
        return self.value >= self.goal if self.better == "high" else self.value <= self.goal

    def as_json(self) -> dict[str, Any]:
        """Return the figure as a dictionary, with `met`."""
        return asdict(self) | {"met": self.met}


def share(group: str, name: str, found: Sequence[bool], **more: Any) -> Figure:
    """Return the share of answers that are True, in percent."""
    value = 100.0 * sum(found) / len(found) if found else None
    return Figure(group=group, name=name, value=value, unit="%", count=len(found), **more)


def psnr(picture: Any, other: Any) -> float:
    """Return the peak signal-to-noise ratio of two uint8 arrays, in dB; at most 99, so that means stay finite."""
    error = np.mean((picture.astype(np.float64) - other.astype(np.float64)) ** 2)
    return min(99.0, float(10 * np.log10(255.0**2 / error))) if error else 99.0


def roc_auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the chance that a random positive is above a random negative, ties counted half (Mann and Whitney's U).

    Raises:
        ValueError: one side is empty.
    """
    wins, losses = len(positive), len(negative)
    if not wins or not losses:
        raise ValueError(f"an AUC needs both sides, not {wins} positive and {losses} negative")
    _, place, times = np.unique([*positive, *negative], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place]
    return float((ranks[:wins].sum() - wins * (wins + 1) / 2) / (wins * losses))


def best_split(positive: Sequence[float], negative: Sequence[float]) -> tuple[float, float]:
    """Return the threshold that separates both sides best, and its mean accuracy over the two sides, 0.5..1."""
    high, low = np.sort(positive), np.sort(negative)
    cuts = np.unique([*positive, *negative])
    kept = 1 - np.searchsorted(high, cuts, side="left") / len(high)
    refused = np.searchsorted(low, cuts, side="left") / len(low)
    best = int(np.argmax(kept + refused))
    return float(cuts[best]), float(kept[best] + refused[best]) / 2


def spread(group: str, name: str, values: Sequence[float]) -> Figure:
    """Return the median of `values`, with percentiles as its detail."""
    marks = np.percentile(values, PERCENTILES)
    detail = ", ".join(f"{percent} %: {mark:.3f}" for percent, mark in zip(PERCENTILES, marks, strict=True))
    return Figure(group=group, name=name, value=float(np.median(values)), count=len(values), detail=detail)


def separation(
    group: str, name: str, positive: Sequence[float], negative: Sequence[float], goal: float | None = None
) -> Figure:
    """Return the ROC AUC of two sides, with the best threshold as its detail."""
    cut, right = best_split(positive, negative)
    detail = f"best split at {cut:.3f}: {100 * right:.1f} % right"
    count = len(positive) + len(negative)
    return Figure(
        group=group, name=name, value=roc_auc(positive, negative), unit="AUC", count=count, goal=goal, detail=detail
    )
