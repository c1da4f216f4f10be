"""Measures a painted picture: its scores, and how alike its hero is to frame 1's and to his calibrated pictures."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from PIL import Image

from models.diffusion.compute import compute
from models.diffusion.requests import PainterSetup
from models.painters.painter import FrameOrder, Shown
from models.scores import Likeness, Scores

if TYPE_CHECKING:
    from models.diffusion.painter import Painting

T = TypeVar("T")


def while_nothing_is_painted(setup: PainterSetup, work: Callable[[], T]) -> T:
    """Return what `work` returns. On a CPU it runs between two paintings.

    On a GPU only the encoders use the device, in its second thread.
    """
    return compute("cpu", work) if setup.scoring_device == "cpu" else work()


def measure(order: FrameOrder, painting: Painting) -> Scores:
    """Return the scores that depend only on this frame, its prompt, frame 1 and the calibration."""
    from models.vision.anomalies import find_flaws
    from models.vision.clip import load_scorer

    setup, image, hero = order.setup, painting.image, painting.hero
    reference = None
    if order.reference is not None:
        reference = Shown(Image.open(io.BytesIO(Path(order.reference).read_bytes())), order.reference_hero)

    def measured() -> Scores:
        scorer = load_scorer(setup.profile, setup.scoring_device)
        compared = None if reference is None else reference.image
        consistency, prompt = scorer.scores(image, order.request.prompt, compared)
        likeness = likeness_of(setup, order.calibration, Shown(image, hero), reference)
        flaws = find_flaws(image, painting.finite)
        return Scores(consistency=consistency, prompt=prompt, anomalies=flaws, hero=hero, likeness=likeness)

    return while_nothing_is_painted(setup, measured)


def likeness_of(setup: PainterSetup, calibration: str | None, shown: Shown, reference: Shown | None) -> Likeness | None:
    """Return how alike the hero is; see `models.painters.painter.Painter.likeness`."""
    from models.vision.clip import load_scorer
    from models.vision.likeness import encoder_fingerprint, encoder_of, likeness, measured_by, read_calibration, see

    if shown.hero is None or not shown.hero.found:
        return None
    profile = setup.profile
    known = None if calibration is None else read_calibration(Path(calibration), profile)
    comparable = reference if reference is not None and reference.hero is not None and reference.hero.found else None
    if known is None and comparable is None:
        return None
    seen, *other = see(encoder_of(profile, setup.scoring_device), [shown, *([comparable] if comparable else [])])
    measurer = measured_by(encoder_fingerprint(profile), calibration)
    alike = likeness(seen, other[0] if other else None, known, measurer)
    if profile.dino is None or comparable is None:
        return alike.model_copy(update={"clip": alike.crop})
    clip = see(load_scorer(profile, setup.scoring_device), [shown, comparable])
    return alike.model_copy(update={"dino": alike.crop, "clip": float(clip[0].crop @ clip[1].crop)})
