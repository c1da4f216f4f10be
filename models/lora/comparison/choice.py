"""Choose the best checkpoint by the CLIP features of what each painted. Nothing is painted here.

Cosines of two different CLIP models can't be compared, so no bar is a fixed cosine: each bar is a share of a value that
the same CLIP measured. `models.lora.comparison.scores` computes the values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from models.lora.comparison.scores import Features, drift, image_similarity, spread, text_image_similarity, variety
from models.lora.records import checkpoint_name

Item = TypeVar("Item")

LEAST_VARIETY = 0.5
"""Share of the training pictures' own variety."""
LOST_SIMILARITY = 0.2
"""Share of the base's text–image similarity that a checkpoint may lose."""
MOST_DRIFT = 0.2
"""Share of the base's own contrast. Measured on steppe: the checkpoints of a training that kept people, places and
times lost 0.04 to 0.12; the last of them at 2, 3 and 6 times its strength 0.39, 0.78 and 0.99; with its character put
in the place of one person of four 0.27, of all four 0.60; a training at 10 times the learning rate 0.95."""
DIGITS = 3
"""Image similarities are compared after rounding to so many decimals, the ones that people read."""

NO_DRIFT = (
    "drift can't be measured: CLIP can't tell by the base's pictures which unrelated prompt each is of; "
    "set unrelated_prompts to some that the base paints clearly"
)

RULE = (
    "Every checkpoint paints the same prompts with the same seeds as the bare base, and CLIP compares the pictures. "
    "A checkpoint must reach three bars. Variety, how different its pictures of the character are from each other, "
    "must be at least half of the training pictures' own (else it paints one picture). Text–image similarity to the "
    "prompts must be at least four fifths of the base's (else it no longer listens). Drift must be at most a fifth "
    "(else it has forgotten the rest): a picture without the trigger word agrees better with its own prompt than with "
    "the others, and drift is the share of this lead that is lost against the base: 0 where nothing is, 1 where the "
    "prompt no longer matters. Where the base itself has no such lead, drift can't be measured, which is a failure. "
    "A painting whose numbers are not finite is one too. Of the checkpoints that reach every bar the one with the "
    "highest image similarity to the training pictures wins, and of equals (to three decimals) the one that trained "
    "less. Where none reaches every bar, finite paintings come first, then the fewest failures, then the same "
    "order; that checkpoint is kept, and published only where that is asked for."
)


@dataclass(frozen=True)
class PaintedFeatures:
    """What one checkpoint, or the bare base, painted."""

    character: Features
    """Of the prompts with the trigger word, [prompts, seeds, features]."""
    unrelated: Features
    """Of those without it, [prompts, seeds, features]."""
    broken: int = 0
    """Paintings whose numbers are not finite."""


@dataclass(frozen=True)
class Yardstick:
    """What every checkpoint is measured against."""

    training: Features
    """Of the training pictures, [pictures, features]."""
    prompts: Features
    """Of the texts of the prompts with the trigger word, [prompts, features]."""
    unrelated: Features
    """Of the texts of those without it, [prompts, features]."""
    base: PaintedFeatures
    """The bare base, with the same prompts and seeds as every checkpoint."""


class References(NamedTuple):
    """What the bars are shares of."""

    image_similarity: float
    """The base's: what an image similarity is without any training. No bar is made of it."""
    text_image_similarity: float
    """The base's, with the same prompts and seeds."""
    variety: float
    """The training pictures' own."""
    painted_variety: float = math.inf
    """The base's. No bar is made of it: a base that paints everything alike is no fault of a training."""


class Measured(NamedTuple):
    """One checkpoint in numbers; `models.lora.records.CheckpointScores` says what they mean."""

    step: int
    """0 for the bare base."""
    image_similarity: float
    text_image_similarity: float
    variety: float
    drift: float | None
    """None where it can't be measured."""
    broken: int = 0


def thin_evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of the items (2 or more), evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def get_references(yardstick: Yardstick) -> References:
    """What the bars are shares of.

    Raises:
        ScoreUnavailable: see the measures.
    """
    character = yardstick.base.character
    return References(
        image_similarity=image_similarity(_flat(character), yardstick.training),
        text_image_similarity=text_image_similarity(character, yardstick.prompts),
        variety=spread(yardstick.training),
        painted_variety=variety(character),
    )


def measure(step: int, painted: PaintedFeatures, yardstick: Yardstick) -> Measured:
    """One checkpoint in numbers.

    Raises:
        ScoreUnavailable: see the measures.
    """
    return Measured(
        step=step,
        image_similarity=image_similarity(_flat(painted.character), yardstick.training),
        text_image_similarity=text_image_similarity(painted.character, yardstick.prompts),
        variety=variety(painted.character),
        drift=drift(painted.unrelated, yardstick.base.unrelated, yardstick.unrelated),
        broken=painted.broken,
    )


def find_failures(row: Measured, references: References) -> tuple[str, ...]:
    """The bars that a checkpoint does not reach, each with value and bar. A value that equals its bar reaches it."""
    failures = []
    least = LEAST_VARIETY * references.variety
    if row.variety < least:
        failures.append(f"{_apart('variety', row.variety, 'under', least)}, half of the training pictures' own")
    # abs(), because a cosine may be negative, and the bar must lie below it then too.
    least = references.text_image_similarity - LOST_SIMILARITY * abs(references.text_image_similarity)
    if row.text_image_similarity < least:
        failures.append(
            f"{_apart('text–image similarity', row.text_image_similarity, 'under', least)}, four fifths of the base's"
        )
    if row.drift is None:
        failures.append(NO_DRIFT)
    elif row.drift > MOST_DRIFT:
        failures.append(f"{_apart('drift', row.drift, 'over', MOST_DRIFT)} of what the base shows of unrelated prompts")
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
        return (row.broken > 0, len(failed[place]), -round(row.image_similarity, DIGITS), row.step)

    chosen = min(range(len(rows)), key=rank)
    passing = sum(not failures for failures in failed)
    reason = _reason(rows, chosen, failed[chosen], passing)
    return chosen, reason + _against_base(rows[chosen], failed[chosen], references)


def _reason(rows: Sequence[Measured], chosen: int, failures: tuple[str, ...], passing: int) -> str:
    name, score = checkpoint_name(rows[chosen].step), f"{rows[chosen].image_similarity:.{DIGITS}f}"
    if not passing:
        why = "fails the least" if len(rows) > 1 else "is the only one"
        return f"no checkpoint reaches every bar; {name}, image similarity {score}, {why}: {'; '.join(failures)}"
    if passing == 1:
        others = f", as none of the other {len(rows) - 1} does" if len(rows) > 1 else ", and is the only one"
        return f"{name} reaches every bar{others}; its image similarity is {score}"
    return f"{name} has the highest image similarity, {score}, of the {passing} of {len(rows)} that reach every bar"


def _against_base(row: Measured, failures: tuple[str, ...], references: References) -> str:
    """The base's image similarity, and advice: train less if the pictures fell apart, more if nothing was learned."""
    base = f"{references.image_similarity:.{DIGITS}f}"
    if failures and _fell_apart(row, references):
        return f" (image similarity of the bare base: {base}); lower learning_rate, or make fewer updates"
    if round(row.image_similarity, DIGITS) > round(references.image_similarity, DIGITS):
        return f" (the bare base: {base})"
    return f"; that is no more than the bare base has ({base}): train longer, or with a higher learning rate"


def _fell_apart(row: Measured, references: References) -> bool:
    """Whether the checkpoint misses a bar that the bare base reaches: then the training went too far."""
    as_the_base = row._replace(variety=references.variety, drift=row.drift or 0.0)
    less_varied = round(row.variety, DIGITS) < round(references.painted_variety, DIGITS)
    missed = find_failures(as_the_base, references)
    return bool(missed) or (less_varied and row.variety < LEAST_VARIETY * references.variety)


def _apart(name: str, value: float, side: str, bar: float) -> str:
    """Value and bar with enough digits to tell the two apart."""
    digits = next((count for count in range(2, 7) if f"{value:.{count}f}" != f"{bar:.{count}f}"), 7)
    return f"{name} {value:.{digits}f} is {side} {bar:.{digits}f}"


def _flat(features: Features) -> Features:
    """[prompts, seeds, features] as [pictures, features]."""
    return features.reshape(-1, features.shape[-1])
