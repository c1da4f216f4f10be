"""Is it the same man? The hero's crop compared with frame 1's and with his calibrated pictures.

The encoder is the profile's DINOv2 if it names one, else its CLIP. A cosine of whole pictures counts the background,
so that a copy of frame 1 is the best picture; here the hero and his surroundings are compared apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.bases.fingerprints import component_fingerprint
from models.bases.hub import fetch
from models.errors import StorageError, WeightsInvalid
from models.profiles import Profile
from models.records import Record
from models.scores import Bounds, Box, Hero, Likeness
from models.storage.files import local_errors, sha256_of

if TYPE_CHECKING:
    import torch
    from PIL import Image

Features = NDArray[np.float64]
HEAD = 0.4
"""Upper share of a crop that is also looked at by itself: a hat is a small part of a whole figure."""
_GREY = (128, 128, 128)


class Encoder(Protocol):
    """What turns pictures into unit vectors."""

    def image_features(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Return unit vectors, float32 [images, features]."""


class Seen(NamedTuple):
    """A picture's features, each a unit vector [features], the mean of a view's and its mirrored one's.

    People face either way: with both views they are told apart better, and a mirrored frame 1 is a copy.
    """

    crop: Features
    head: Features
    around: Features


class Discriminant(Record):
    """A direction among features along which his are about 1 and others' about 0."""

    direction: tuple[float, ...]
    offset: float

    def score(self, features: Features) -> float:
        """Return where features lie along it."""
        return float(features @ np.asarray(self.direction) + self.offset)


class Calibration(Record):
    """What `python -m flows.calibrate` measured on a character's pictures; kept beside his LoRA."""

    format: int = Field(3, ge=3, le=3)
    """3: of boxes from the trigger word's last token."""
    trigger: str
    encoder: str
    """Fingerprint of the encoder; with another one the numbers mean nothing."""
    crop: Discriminant
    head: Discriminant
    bounds: Bounds
    auc: float
    """Chance that a picture of him scores above one of another person, on pictures left out of the fit."""
    curve: tuple[tuple[float, float], ...]
    """The ROC: (share of his pictures that is kept, share of others' that passes), from a strict threshold to none."""
    his: int
    others: int
    """Numbers of pictures."""
    caught: float
    """Share of others' pictures under the lower bound."""
    false_alarms: float
    """Share of his under it."""
    copies_caught: float
    """Share of copies above both upper bounds, made by shifting, mirroring, scaling and compressing his pictures."""
    copies_false: float
    """Share of pairs of his pictures above both."""

    def score(self, seen: Seen) -> float:
        """Return how much he is himself: about 1 for him, about 0 for others. The worse of crop and head counts."""
        return min(self.crop.score(seen.crop), self.head.score(seen.head))


def encoder_of(profile: Profile, device: str) -> Encoder:
    """Return the profile's encoder of crops, loaded by the first caller; raises as `load_scorer`."""
    # Imported here, because a run that asks painters elsewhere reads calibrations without torch.
    from models.vision.clip import load_scorer
    from models.vision.dino import load_dino

    return load_scorer(profile, device) if profile.dino is None else load_dino(profile.dino, device)


@lru_cache(maxsize=4)
def encoder_fingerprint(profile: Profile) -> str:
    """Return the fingerprint of the profile's encoder of crops, as it was at first."""
    return encoder_now(profile)


def encoder_now(profile: Profile) -> str:
    """Return the fingerprint of the files of the profile's encoder of crops as they are now."""
    component = profile.dino or profile.clip
    return component_fingerprint(component, fetch(component))


def forget_encoder() -> None:
    """Drop the loaded DINOv2, and what is known of encoders' files."""
    from models.vision.dino import unload_dino

    unload_dino()
    encoder_fingerprint.cache_clear()


def measured_by(encoder: str, calibration: str | None) -> str:
    """Return what a likeness hangs on besides the pictures: the encoder's fingerprint and the calibration's file."""
    try:
        own = "" if calibration is None else sha256_of(Path(calibration))[:16]
    except StorageError:
        own = "missing"
    return f"{encoder[:16]} {own}".strip()


def parse_calibration(file: Path) -> Calibration:
    """Return a character's calibration, of whatever encoder.

    Raises:
        WeightsInvalid: it is broken.
        StorageError: it can't be read.
    """
    with local_errors(file):
        data = file.read_bytes()
    try:
        return Calibration.model_validate(json.loads(data))
    except ValueError:  # pydantic's errors are ValueErrors
        raise WeightsInvalid(f"{file}: no calibration of this version; make it again: {REMEDY}") from None


def read_calibration(file: Path, profile: Profile) -> Calibration:
    """Return a character's calibration, as `parse_calibration`.

    Raises:
        WeightsInvalid: it is of another encoder than the profile's.
    """
    found = parse_calibration(file)
    if found.encoder != encoder_fingerprint(profile):
        raise WeightsInvalid(f"{file}: measured with another encoder than profile {profile.name}'s; {REMEDY}")
    return found


REMEDY = "python -m flows.calibrate FOLDER --others FOLDER --lora-path LORA"


def box_of(image: Image.Image, hero: Hero | None) -> Box:
    """Return the hero's box; that of the whole picture where he was not found."""
    return hero.box if hero is not None and hero.box is not None else (0, 0, *image.size)


def see(encoder: Encoder, pictures: Sequence[tuple[Image.Image, Hero | None]]) -> list[Seen]:
    """Return the features of pictures and of the heroes in them."""
    if not pictures:
        return []
    from PIL import ImageOps

    views = [view for image, hero in pictures for view in _views(image.convert("RGB"), box_of(image, hero))]
    both = encoder.image_features([*views, *map(ImageOps.mirror, views)]).numpy().astype(np.float64)
    found = both[: len(views)] + both[len(views) :]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return [Seen(*found[start : start + 3]) for start in range(0, len(found), 3)]


def _views(image: Image.Image, box: Box) -> tuple[Image.Image, ...]:
    """Return the hero's crop, its upper part, and the picture with grey in his place."""
    left, upper, right, lower = box
    around = image.copy()
    if (right - left, lower - upper) != image.size:
        around.paste(_GREY, box)
    head = (left, upper, right, max(upper + round(HEAD * (lower - upper)), upper + 1))
    return image.crop(box), image.crop(head), around


def likeness(seen: Seen, reference: Seen | None, calibration: Calibration | None, measured_by: str) -> Likeness:
    """Return how alike two heroes are, and how much the first is the calibrated one."""
    return Likeness(
        crop=None if reference is None else float(seen.crop @ reference.crop),
        around=None if reference is None else float(seen.around @ reference.around),
        own=None if calibration is None else calibration.score(seen),
        measured_by=measured_by,
    )
