"""Aspect buckets: the sizes that training pictures of different shapes are scaled and cropped to.

As in sd-scripts (`make_bucket_resolutions`), no bucket has more pixels than the square of the resolution.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from models.lora.records import TrainingPicture, TrainingSet
from models.sizes import GRAIN, Size

STEPS_IN_A_SIDE = 16
"""The usual step is this part of the resolution: 64 pixels at 1024, 16 at 256."""


def usual_step(resolution: int) -> int:
    """The step of the sides if none is given, in pixels."""
    return max(GRAIN, round(resolution / STEPS_IN_A_SIDE / GRAIN) * GRAIN)


@lru_cache
def bucket_sizes(resolution: int, min_side: int, max_side: int, step: int) -> tuple[Size, ...]:
    """All buckets, from the tallest to the widest: to each width the largest height with at most resolution² pixels.

    Args:
        resolution: side of the square of as many pixels.
        min_side: the shortest side, in pixels.
        max_side: the longest.
        step: of which both sides are multiples.

    Returns:
        Width and height of each; empty if no size lies within these limits.
    """
    square = resolution // step * step
    sizes = {Size.square(square)}
    for width in range(-(-min_side // step) * step, max_side + 1, step):
        height = resolution**2 // width // step * step
        sizes |= {Size(width, height), Size(height, width)}
    inside = [size for size in sizes if min_side <= min(size) and max(size) <= max_side]
    return tuple(sorted(inside, key=lambda size: (size.width / size.height, size)))


def nearest_size(width: int, height: int, sizes: tuple[Size, ...]) -> Size:
    """The size whose shape is nearest to that of width x height; of equally near ones that of the most pixels.

    Shapes are compared by the logarithm of width / height, so that 2:1 is as far from 1:1 as 1:2 is.

    Args:
        width: of the picture, in pixels.
        height: of the picture.
        sizes: at least one.
    """

    def distance(size: Size) -> tuple[float, int]:
        return abs(math.log(width * size.height / (height * size.width))), -size.pixels

    return min(sizes, key=distance)


def is_filled(width: int, height: int, size: Size) -> bool:
    """Whether a picture of width x height covers the size without being enlarged."""
    return width >= size.width and height >= size.height


def count_buckets(pictures: Iterable[TrainingPicture]) -> dict[Size, int]:
    """How many pictures of each bucket a pass shows, repeats counted, from the tallest bucket to the widest.

    Empty if the pictures have no buckets.
    """
    shown: Counter[Size] = Counter()
    for picture in pictures:
        if picture.bucket is not None:
            shown[picture.bucket] += picture.repeats
    return dict(sorted(shown.items(), key=lambda item: (item[0].width / item[0].height, item[0])))


def places_in_a_pass(training_set: TrainingSet, batch: int) -> int:
    """How many places a pass over the training pictures has, counted in batches of this size.

    In squares that is the number of pictures it shows. In buckets the last batch of each has places left empty, which
    count too, as they take a batch's part of an update.
    """
    shown = count_buckets(training_set.train)
    return sum(-(-count // batch) * batch for count in shown.values()) or training_set.shown_in_a_pass


def buckets_in_words(training_set: TrainingSet, batch: int) -> str:
    """How many pictures each bucket has, and how many batches of a pass are smaller; "" without buckets."""
    shown = count_buckets(training_set.train)
    if not shown:
        return ""
    counts = ", ".join(f"{size}: {count}" for size, count in shown.items())
    smaller = sum(count % batch > 0 for count in shown.values())
    batches = places_in_a_pass(training_set, batch) // batch
    return f"pictures in aspect buckets: {counts}; {smaller} of a pass's {batches} batches have fewer than {batch}"
