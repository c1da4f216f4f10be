"""How checkpoints are measured and which one wins: features in, numbers and one choice out. Nothing is painted here.

Features are CLIP's: unit vectors [..., features] of pictures or texts, as `models.vision.clip` gives them. A cosine of
them belongs to its CLIP, so no bar here is a plain cosine: each is a share of something that the same CLIP measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import ScoreUnavailable

Features = NDArray[np.floating[Any]]
Item = TypeVar("Item")

LEAST_VARIETY = 0.5
"""Share of the training pictures' own variety."""
LOST_AGREEMENT = 0.2
"""Share of the base's agreement that a checkpoint may lose."""
MOST_DRIFT = 1.0
"""In units of what another seed changes."""
DIGITS = 3
"""Decimals of a likeness that count: what reads the same is the same."""

_ROUNDING = 1e-5  # 1 - cosine of two equal pictures, in fp32 and on any device, is below this

RULE = (
    "Every checkpoint paints the same prompts with the same seeds as the bare base, and CLIP compares the pictures. "
    "Three bars keep out what likeness alone would reward: variety, how different its pictures of the character are "
    "from each other, must be at least half of the training pictures' own (else it paints one picture); agreement with "
    "the prompts must be at least four fifths of the base's (else it no longer listens); drift, how far prompts "
    "without the trigger word moved from the base's pictures, must be at most what another seed changes (else it has "
    "forgotten the rest). A painting whose numbers are not finite is a failure too. Of the checkpoints that reach "
    "every bar the one with the highest likeness to the training pictures wins, and of equals (to three decimals) the "
    "one that trained less. Where none reaches every bar: paintings that are all finite first, then the fewest "
    "failures, then the same order."
)


@dataclass(frozen=True)
class PaintedFeatures:
    """What one checkpoint, or the bare base, painted."""

    character: Features
    """Of the prompts with the trigger word, [prompts, seeds, features]."""
    unrelated: Features
    """Of those without it, [prompts, seeds, features]. The base may have more seeds; the first are the same."""
    broken: int = 0
    """Paintings whose numbers are not finite."""


@dataclass(frozen=True)
class Yardstick:
    """What every checkpoint is measured against."""

    training: Features
    """Of the training pictures, [pictures, features]."""
    prompts: Features
    """Of the texts of the prompts with the trigger word, [prompts, features]."""
    base: PaintedFeatures
    """The bare base, with at least two seeds of the unrelated prompts."""


class References(NamedTuple):
    """What the bars are shares of."""

    likeness: float
    """The base's: what a likeness is without any training. No bar is made of it."""
    agreement: float
    """The base's, with the same prompts and seeds."""
    variety: float
    """The training pictures' own."""


class Measured(NamedTuple):
    """One checkpoint in numbers; `models.lora.records.CheckpointScores` says what they mean."""

    step: int
    """0 for the bare base."""
    likeness: float
    agreement: float
    variety: float
    drift: float
    broken: int = 0


def thin_evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of the items (2 or more), evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def name_of(step: int) -> str:
    """What the checkpoint of a step is called."""
    return f"checkpoint-{step}"


def likeness(painted: Features, training: Features) -> float:
    """Mean cosine of painted pictures [n, features] and the training pictures' mean feature, brought to length 1.

    Raises:
        ScoreUnavailable: there is no picture, or the mean has no direction.
    """
    mean = training.astype(np.float64).mean(axis=0)
    length = np.linalg.norm(mean)
    if not length > _ROUNDING:
        raise ScoreUnavailable("the training pictures' features cancel each other out, so nothing is like them")
    return _finite("likeness", (painted @ (mean / length)).mean())


def agreement(painted: Features, prompts: Features) -> float:
    """Mean cosine of painted pictures [prompts, seeds, features] and their own prompts [prompts, features].

    Raises:
        ScoreUnavailable: a feature is not finite.
    """
    return _finite("agreement", (painted * prompts[:, None]).sum(axis=-1).mean())


def spread(pictures: Features) -> float:
    """1 - mean cosine of all pairs of pictures [n, features].

    Raises:
        ScoreUnavailable: fewer than two pictures, or a feature is not finite.
    """
    count = len(pictures)
    if count < 2:
        raise ScoreUnavailable(f"how different pictures are takes two of them, there is {count}")
    wide = pictures.astype(np.float64)
    return _finite("variety", 1 - (wide @ wide.T)[np.triu_indices(count, 1)].mean())


def variety(painted: Features) -> float:
    """Mean over seeds of the spread over prompts, of pictures [prompts, seeds, features].

    Raises:
        ScoreUnavailable: fewer than two prompts, or a feature is not finite.
    """
    return float(np.mean([spread(painted[:, seed]) for seed in range(painted.shape[1])]))


def drift(adapted: Features, bare: Features) -> float:
    """How far a LoRA moved pictures, in units of how far another seed moves them.

    The unit is the mean over prompts of the spread over seeds of the base's own pictures. One seed gives no unit, so
    the base is always painted with two at least, also where the checkpoints are painted with one.

    Args:
        adapted: pictures with the LoRA, [prompts, seeds, features].
        bare: the base's, [prompts, two seeds or more, features]; the first seeds are those of `adapted`.

    Raises:
        ScoreUnavailable: the base has one seed, or paints the same with every seed, so there is no unit.
    """
    moved = 1 - (adapted.astype(np.float64) * bare[:, : adapted.shape[1]]).sum(axis=-1).mean()
    unit = np.mean([spread(seeds) for seeds in bare])
    if not unit > _ROUNDING:
        raise ScoreUnavailable(
            f"the base paints the same picture with every seed ({unit:.1e} apart), so drift has no unit; "
            "set unrelated_prompts to prompts that leave the seed some freedom"
        )
    return max(0.0, _finite("drift", moved / unit))  # equal pictures may be a rounding error more than equal


def get_references(yardstick: Yardstick) -> References:
    """What the bars are shares of.

    Raises:
        ScoreUnavailable: see the measures.
    """
    character = yardstick.base.character
    return References(
        likeness=likeness(_flat(character), yardstick.training),
        agreement=agreement(character, yardstick.prompts),
        variety=spread(yardstick.training),
    )


def measure(step: int, painted: PaintedFeatures, yardstick: Yardstick) -> Measured:
    """One checkpoint in numbers.

    Raises:
        ScoreUnavailable: see the measures.
    """
    return Measured(
        step=step,
        likeness=likeness(_flat(painted.character), yardstick.training),
        agreement=agreement(painted.character, yardstick.prompts),
        variety=variety(painted.character),
        drift=drift(painted.unrelated, yardstick.base.unrelated),
        broken=painted.broken,
    )


def find_failures(row: Measured, references: References) -> tuple[str, ...]:
    """The bars that a checkpoint does not reach, each with value and bar. What equals its bar reaches it."""
    failures = []
    least = LEAST_VARIETY * references.variety
    if row.variety < least:
        failures.append(f"{_apart('variety', row.variety, 'under', least)}, half of the training pictures' own")
    # A cosine may be negative: then, too, a loss makes it smaller.
    least = references.agreement - LOST_AGREEMENT * abs(references.agreement)
    if row.agreement < least:
        failures.append(f"{_apart('agreement', row.agreement, 'under', least)}, four fifths of the base's")
    if row.drift > MOST_DRIFT:
        failures.append(f"{_apart('drift', row.drift, 'over', MOST_DRIFT)}, what another seed changes")
    if row.broken:
        failures.append(f"{row.broken} painted with numbers that are not finite")
    return tuple(failures)


def choose(rows: Sequence[Measured], references: References) -> tuple[int, str]:
    """The checkpoint to publish, by `RULE`.

    Args:
        rows: one a checkpoint.
        references: see `get_references`.

    Returns:
        (its place in `rows`, one line that says why).

    Raises:
        ValueError: there is none.
    """
    if not rows:
        raise ValueError("there is no checkpoint to choose from")
    failed = [find_failures(row, references) for row in rows]

    def rank(place: int) -> tuple[bool, int, float, int]:
        row = rows[place]
        return (row.broken > 0, len(failed[place]), -round(row.likeness, DIGITS), row.step)

    chosen = min(range(len(rows)), key=rank)
    passing = sum(not failures for failures in failed)
    return chosen, _reason(rows, chosen, failed[chosen], passing) + _against_base(rows[chosen], references)


def _reason(rows: Sequence[Measured], chosen: int, failures: tuple[str, ...], passing: int) -> str:
    name, score = name_of(rows[chosen].step), f"{rows[chosen].likeness:.{DIGITS}f}"
    if not passing:
        why = "fails the least" if len(rows) > 1 else "is the only one"
        return f"no checkpoint reaches every bar; {name}, likeness {score}, {why}: {'; '.join(failures)}"
    if passing == 1:
        others = f", as none of the other {len(rows) - 1} does" if len(rows) > 1 else ", and is the only one"
        return f"{name} reaches every bar{others}; its likeness is {score}"
    return f"{name} has the highest likeness, {score}, of the {passing} of {len(rows)} that reach every bar"


def _against_base(row: Measured, references: References) -> str:
    base = f"{references.likeness:.{DIGITS}f}"
    if round(row.likeness, DIGITS) > round(references.likeness, DIGITS):
        return f" (the bare base: {base})"
    return f"; that is no more than the bare base has ({base}): train longer, or with a higher learning rate"


def _apart(name: str, value: float, side: str, bar: float) -> str:
    """Value and bar with enough digits to tell the two apart."""
    digits = next((count for count in range(2, 7) if f"{value:.{count}f}" != f"{bar:.{count}f}"), 7)
    return f"{name} {value:.{digits}f} is {side} {bar:.{digits}f}"


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise ScoreUnavailable(f"{name} came out as {value}: a CLIP feature is not finite, or there is no picture")
    return float(value)


def _flat(features: Features) -> Features:
    """[prompts, seeds, features] as [pictures, features]."""
    return features.reshape(-1, features.shape[-1])
