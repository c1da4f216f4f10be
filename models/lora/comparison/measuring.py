"""From pictures on disk to CLIP features, and from those to the numbers that checkpoints are compared by."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from models.lora.comparison.choice import (
    Measured,
    PaintedFeatures,
    References,
    Yardstick,
    get_references,
    measure,
    thin_evenly,
)
from models.lora.comparison.sample_prompts import get_prompts
from models.lora.comparison.samples import Painted, Sample
from models.lora.comparison.scores import Features
from models.lora.data.pictures import open_picture, prepare
from models.lora.options import TrainingOptions
from models.lora.records import TrainingSet
from models.sizes import Size

if TYPE_CHECKING:
    from models.vision.clip import ClipScorer

MOST_TRAINING_PICTURES = 64
"""Of more training pictures, so many evenly spaced ones are measured: their mean is precise enough."""

_AT_ONCE = 16  # pictures


class Measurements(NamedTuple):
    """All that was measured."""

    rows: list[Measured]
    """The bare base first."""
    references: References


def measure_all(
    options: TrainingOptions,
    training_set: TrainingSet,
    device: str,
    painted: Sequence[Painted],
    report: Callable[[str], None],
) -> Measurements:
    """What the base and the checkpoints painted, in numbers. CLIP is not kept loaded.

    Args:
        painted: the bare base first; all of the same prompts and seeds.
        report: called with what is being measured.

    Raises:
        InputError: a training picture can't be read.
        ScoreUnavailable: a measure has no value.
        OutOfMemory, ModelError: CLIP could not be loaded or used.
    """
    from models.vision.clip import load_scorer, unload_scorer

    report("measuring: loading CLIP")
    try:
        loaded = load_scorer(options.get_profile(), device)
        scorer = dataclasses.replace(loaded, trigger=options.trigger_word())
        report("measuring: the training pictures")
        training = _training_features(options, training_set, scorer)
        prompts, unrelated = (_text_features(texts, scorer) for texts in get_prompts(options))
        features: list[PaintedFeatures] = []
        for one in painted:
            report(f"measuring: the paintings, {len(features) + 1} of {len(painted)}")
            features.append(_painted_features(one, scorer))
    finally:
        unload_scorer()
    yardstick = Yardstick(training=training, prompts=prompts, unrelated=unrelated, base=features[0])
    rows = [measure(one.step, own, yardstick) for one, own in zip(painted, features, strict=True)]
    return Measurements(rows, get_references(yardstick))


def _training_features(options: TrainingOptions, training_set: TrainingSet, scorer: ClipScorer) -> Features:
    """Of the training pictures, cut to squares as the painted ones are, [at most 64, features]."""
    pictures, square = thin_evenly(training_set.train, MOST_TRAINING_PICTURES), Size.square(options.side())
    return _features((prepare(open_picture(Path(each.file)), square) for each in pictures), scorer)


def _text_features(texts: Sequence[str], scorer: ClipScorer) -> Features:
    """[texts, features]."""
    return np.concatenate([scorer.text_features(text).numpy() for text in texts])


def _painted_features(painted: Painted, scorer: ClipScorer) -> PaintedFeatures:
    return PaintedFeatures(
        character=_sample_features(painted.character, scorer),
        unrelated=_sample_features(painted.unrelated, scorer),
        broken=painted.broken,
    )


def _sample_features(samples: Sequence[Sequence[Sample]], scorer: ClipScorer) -> Features:
    """[prompts, seeds, features]."""
    flat = _features((open_picture(Path(sample.file)) for seeds in samples for sample in seeds), scorer)
    return flat.reshape(len(samples), len(samples[0]), -1)


def _features(pictures: Iterable[Image.Image], scorer: ClipScorer) -> Features:
    """[pictures, features], a few at a time."""
    waiting = iter(pictures)
    batches = iter(lambda: list(itertools.islice(waiting, _AT_ONCE)), [])
    return np.concatenate([scorer.image_features(batch).numpy() for batch in batches])
