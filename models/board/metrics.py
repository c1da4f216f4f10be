"""A board's figures in the words of public benchmarks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from models.records import Record
from models.scores import Scores
from models.vision.anomalies import NEAR_COPY


class Metrics(Record):
    """Means over a board. A figure that was not measured is null, never 0."""

    clip_t: float | None
    """CLIP-T: cosine of a frame and its own prompt, over all frames."""
    clip_i: float | None
    """CLIP-I of crops: cosine of the hero's crop and frame 1's, over the frames 2 to n in which he was found."""
    dino_i: float | None
    """DINO-I of crops: the same with DINOv2; null for a profile without one."""
    copy_rate: float | None
    """Share of the frames 2 to n that are near copies of an earlier one."""
    crops: int
    """How many frames `clip_i` is the mean of."""


def metrics_of(scores: Sequence[Scores]) -> Metrics:
    """Return the metrics of a board's frames, in order."""
    alike = [each.likeness for each in scores[1:] if each.likeness is not None]
    clip = [likeness.clip for likeness in alike if likeness.clip is not None]
    copies = [any(flaw.startswith(NEAR_COPY) for flaw in each.anomalies) for each in scores[1:]]
    return Metrics(
        clip_t=_mean(each.prompt for each in scores),
        clip_i=_mean(clip),
        dino_i=_mean(likeness.dino for likeness in alike if likeness.dino is not None),
        copy_rate=_mean(map(float, copies)),
        crops=len(clip),
    )


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return math.fsum(found) / len(found) if found else None
