"""From features of a hero's pictures and of other people's to thresholds: a lower and two upper bounds.

He is told from others by two of Fisher's linear discriminants, of crops and of heads, and the worse score counts: one
discriminant of both goes by the robe alone, where the others all wear other robes. The covariances are shrunk towards a
sphere, because there are often fewer pictures than features. Thresholds are made of the scores of pictures left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from models.errors import InputError
from models.scores import Bounds, Box, Hero
from models.vision.likeness import Calibration, Discriminant, Seen, box_of

Values = NDArray[np.float64]

FEWEST = 4
"""Least number of pictures on each side."""
FOLDS = 5
SHRINKAGE = 0.03
"""Share of the features' mean variance that is added to each. On the steppe world 0.01 to 0.05 are equally good."""
FALSE_ALARMS = 0.01
"""Share of his own pictures that the lower bound may refuse if they are left out. Painted ones are less like him."""
NORMAL = NormalDist().inv_cdf(1 - FALSE_ALARMS)
"""So many standard deviations under the mean lies the lowest FALSE_ALARMS of a normal distribution."""
COPIES_CAUGHT = 0.97
"""Share of copies that the upper bounds are to catch; the pixels' difference catches others."""
FALSE_COPIES = 0.01
"""Most pairs of his different pictures that may count as copies, as a share; else fewer copies are caught."""
_STEPS = np.linspace(0.0, 0.5, 26)
"""Quantiles of the copies that are tried as bounds."""
_POINTS = 200
"""Most points of a stored curve."""


class Pair(NamedTuple):
    """Cosines of two pictures: of their heroes' crops, and of what is around these."""

    crop: float
    around: float


def calibrate(
    his: Sequence[Seen], others: Sequence[Seen], copies: Sequence[Pair], *, trigger: str, encoder: str
) -> Calibration:
    """Return what tells the hero from others and from copies.

    Args:
        his: his pictures, all different.
        others: other people's.
        copies: his pictures beside copies of them.
        trigger: his word.
        encoder: fingerprint of what made the features.

    Raises:
        InputError: too few pictures, or nothing tells the two sides apart.
    """
    for side, what in ((his, "his"), (others, "other people's")):
        if len(side) < FEWEST:
            raise InputError(
                f"{len(side)} of {what} pictures differ from each other, {FEWEST} are needed; add pictures"
            )
    crops, heads = (
        [np.stack([getattr(seen, part) for seen in side]) for side in (his, others)] for part in ("crop", "head")
    )
    own_scores, strange_scores = map(np.minimum, _left_out(*crops), _left_out(*heads))
    # FALSE_ALARMS of a normal distribution: that share of few pictures is less than one picture, the oddest.
    least = float(own_scores.mean() - NORMAL * own_scores.std())
    pairs = [pair_of(first, second) for n, first in enumerate(his) for second in his[:n]]
    bounds = Bounds(least=least, calibrated=True, **_upper_bounds(pairs, copies))
    return Calibration(
        trigger=trigger,
        encoder=encoder,
        crop=_fit(*crops),
        head=_fit(*heads),
        bounds=bounds,
        auc=area(own_scores, strange_scores),
        curve=curve_of(own_scores, strange_scores),
        his=len(his),
        others=len(others),
        caught=float((strange_scores < least).mean()),
        false_alarms=float((own_scores < least).mean()),
        copies_caught=_share_of_copies(copies, bounds),
        copies_false=_share_of_copies(pairs, bounds),
    )


def _upper_bounds(pairs: Sequence[Pair], copies: Sequence[Pair]) -> dict[str, float]:
    """Return the bounds that fewest different pictures are over, of those that catch enough copies."""
    found = np.array(pairs), np.array(copies)
    best = (-1.0, 0.0, 2.0, 2.0)
    for most in np.quantile(found[1][:, 0], _STEPS):
        for around in np.quantile(found[1][:, 1], _STEPS):
            false, caught = (float(((side >= (most, around)).all(axis=1)).mean()) for side in found)
            if false <= FALSE_COPIES:
                best = max(best, (min(caught, COPIES_CAUGHT), -false, float(most), float(around)))
    return {"most": best[2], "most_around": best[3]}


def pair_of(first: Seen, second: Seen) -> Pair:
    """Return the cosines of two pictures."""
    return Pair(float(first.crop @ second.crop), float(first.around @ second.around))


def copies_of(image: Image.Image, hero: Hero) -> list[tuple[Image.Image, Hero]]:
    """Return copies of a picture as a base may paint them: moved, mirrored, cut, compressed, brighter; with his box."""
    width, height = image.size
    move = max(2, width // 40)
    cut = (move, move, width - move, height - move)
    box = box_of(image, hero)
    scale = width / (width - 2 * move), height / (height - 2 * move)
    inside = [(edge - move) * scale[n % 2] for n, edge in enumerate(box)]
    moved = Image.new(image.mode, image.size)
    moved.paste(image.transform(image.size, Image.Transform.AFFINE, (1, 0, -move, 0, 1, 0), fillcolor=(128, 128, 128)))
    return [
        (moved, _at(hero, (box[0] + move, box[1], box[2] + move, box[3]), image)),
        (ImageOps.mirror(image), _at(hero, (width - box[2], box[1], width - box[0], box[3]), image)),
        (image.resize(image.size, Image.Resampling.BICUBIC, cut), _at(hero, inside, image)),
        (image.resize((width // 2, height // 2)).resize(image.size, Image.Resampling.BICUBIC), hero),
        (ImageEnhance.Brightness(image).enhance(1.1), hero),
    ]


def _at(hero: Hero, edges: Sequence[float], image: Image.Image) -> Hero:
    """Return the hero at another box, kept inside the picture."""
    sides = (image.width, image.height) * 2
    left, upper, right, lower = (min(max(0, round(edge)), side) for edge, side in zip(edges, sides, strict=True))
    box: Box = (min(left, image.width - 1), min(upper, image.height - 1), max(right, 1), max(lower, 1))
    return hero if hero.box is None else hero.model_copy(update={"box": box})


def _fit(own: Values, strange: Values) -> Discriminant:
    """Return the discriminant of features [pictures, features] that gives 1 for his mean and 0 for others'."""
    means = own.mean(axis=0), strange.mean(axis=0)
    spread = [(side - mean).T @ (side - mean) / len(side) for side, mean in zip((own, strange), means, strict=True)]
    within = (spread[0] + spread[1]) / 2
    within += SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within)) + 1e-9 * np.eye(len(within))
    direction = np.linalg.solve(within, means[0] - means[1])
    apart = float(direction @ (means[0] - means[1]))
    if not apart > 1e-9:
        raise InputError("his pictures and the others look the same; name other folders")
    return Discriminant(direction=tuple((direction / apart).tolist()), offset=float(-direction @ means[1] / apart))


def _left_out(own: Values, strange: Values) -> tuple[Values, Values]:
    """Return the scores of all pictures, each by a fit without it."""
    scores = np.empty(len(own)), np.empty(len(strange))
    folds = min(FOLDS, len(own), len(strange))
    for fold in range(folds):
        left = [np.arange(len(side)) % folds == fold for side in (own, strange)]
        fitted = _fit(own[~left[0]], strange[~left[1]])
        for side, out, values in zip((own, strange), left, scores, strict=True):
            values[out] = [fitted.score(one) for one in side[out]]
    return scores


def area(own: Values, strange: Values) -> float:
    """Return the chance that one of his scores is above one of others', ties counted half: the area under the ROC."""
    above = (own[:, None] > strange[None]).mean() + (own[:, None] == strange[None]).mean() / 2
    return float(above)


def curve_of(own: Values, strange: Values) -> tuple[tuple[float, float], ...]:
    """Return the ROC's points from a strict threshold to none: (share of his kept, share of others' that passes)."""
    cuts = np.concatenate([[np.inf], np.unique(np.concatenate([own, strange]))[::-1]])
    points = [(float((own >= cut).mean()), float((strange >= cut).mean())) for cut in cuts]
    step = -(-len(points) // _POINTS)
    return (*points[:-1:step], points[-1])


def _share_of_copies(pairs: Sequence[Pair], bounds: Bounds) -> float:
    found = [pair.crop >= bounds.most and pair.around >= bounds.most_around for pair in pairs]
    return float(np.mean(found)) if found else 0.0
