"""The likeness of a frame's hero: measured when it is painted, and again when what it hangs on has changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.diffusion.compute import compute
from models.errors import StorageError
from models.frames.render_config import RenderConfig
from models.records import Adapter
from models.scores import Bounds, Hero, Likeness, Scores
from models.storage.adapters import calibration_file
from models.storage.files import sha256_of

if TYPE_CHECKING:
    from PIL import Image

Shown = tuple["Image.Image", Hero | None]
"""A picture and where the hero is in it."""


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
    """Return how alike the hero is to frame 1's and to his calibrated pictures.

    None where he was not found, or there is nothing to compare him with.
    """
    from models.vision.clip import load_scorer
    from models.vision.likeness import encoder_of, likeness, read_calibration, see

    image, hero = shown
    if hero is None or not hero.found:
        return None
    profile = config.setup.profile
    calibration = None if config.calibration is None else read_calibration(Path(config.calibration), profile)
    comparable = reference if reference is not None and reference[1] is not None and reference[1].found else None
    if calibration is None and comparable is None:
        return None
    encoder = encoder_of(profile, config.setup.scoring_device)
    seen, *other = see(encoder, [(image, hero), *([comparable] if comparable else [])])
    alike = likeness(seen, other[0] if other else None, calibration, measured_by(config))
    if profile.dino is None or comparable is None:
        return alike.model_copy(update={"clip": alike.crop})
    clip = see(load_scorer(profile, config.setup.scoring_device), [(image, hero), comparable])
    return alike.model_copy(update={"dino": alike.crop, "clip": float(clip[0].crop @ clip[1].crop)})


def brought_up(scores: Scores, shown: Shown, reference: Shown | None, config: RenderConfig) -> Scores:
    """Return a stored frame's scores with the likeness as this run measures it; nothing is painted for it."""
    if scores.hero is None or not scores.hero.found:
        return scores
    if scores.likeness is not None and scores.likeness.measured_by == measured_by(config):
        return scores
    on_cpu = config.setup.scoring_device == "cpu"  # on a GPU only the encoder uses the device, in its second thread

    def measured() -> Likeness | None:
        return likeness_of(shown, reference, config)

    return scores.model_copy(update={"likeness": compute("cpu", measured) if on_cpu else measured()})


def measured_by(config: RenderConfig) -> str:
    """Return what a likeness hangs on besides the pictures: the encoder and the calibration."""
    from models.vision.likeness import encoder_fingerprint

    try:
        calibration = "" if config.calibration is None else sha256_of(Path(config.calibration))[:16]
    except StorageError:
        calibration = "missing"
    return f"{encoder_fingerprint(config.setup.profile)[:16]} {calibration}".strip()
