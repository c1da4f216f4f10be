"""The likeness of a frame's hero: measured when it is painted, and again when what it hangs on has changed."""

from __future__ import annotations

from pathlib import Path

from models.frames.render_config import RenderConfig
from models.painters.choose import painter
from models.painters.painter import Shown
from models.records import Adapter
from models.scores import Bounds, Likeness, Scores
from models.storage.adapters import calibration_file


def calibrated(bounds: Bounds, adapter: Adapter | None) -> tuple[Bounds, str | None]:
    """Return the bounds of the character's calibration and its file, if his LoRA has one; else the bounds as they are.

    A threshold that was given as an option stays.

    Raises:
        WeightsInvalid: the file is broken.
    """
    from models.vision.likeness import parse_calibration

    file = None if adapter is None else calibration_file(Path(adapter.path))
    if file is None or not file.is_file():
        return bounds, None
    own = parse_calibration(file).bounds
    if bounds.given:
        own = own.model_copy(update={"least": bounds.least, "calibrated": False, "given": True})
    return own, str(file)


def likeness_of(shown: Shown, reference: Shown | None, config: RenderConfig) -> Likeness | None:
    """Return how alike the hero is to frame 1's and to his calibrated pictures, as the run's painter measures it.

    None where he was not found, or there is nothing to compare him with.
    """
    return painter(config.painters).likeness(config.setup, config.calibration, shown, reference)


def brought_up(scores: Scores, shown: Shown, reference: Shown | None, config: RenderConfig) -> Scores:
    """Return a stored frame's scores with the likeness as this run measures it; nothing is painted for it."""
    from models.vision.likeness import measured_by

    if scores.hero is None or not scores.hero.found:
        return scores
    measurer = measured_by(config.encoder, config.calibration)
    if scores.likeness is not None and scores.likeness.measured_by == measurer:
        return scores
    return scores.model_copy(update={"likeness": likeness_of(shown, reference, config)})
