"""Measures a calibration: finds the hero in each picture, compares crops, and writes thresholds beside his LoRA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.calibration.curve import draw_curve
from models.calibration.pictures import Folders, caption_of
from models.frames.render_config import RenderConfig
from models.lora.data.pictures import open_picture
from models.records import Record
from models.storage.adapters import calibration_file
from models.storage.files import write_atomically

if TYPE_CHECKING:
    from models.diffusion.looking import Looked
    from models.vision.likeness import Calibration


Counted = Callable[[int, int], object]
"""Called with the pictures looked at and their number."""


class Calibrated(Record):
    """What was measured and where it was written."""

    file: str
    """hero.json beside the LoRA."""
    picture: str
    """The ROC as PNG, beside it."""
    found: int
    """Of his pictures, those in which he was found; the others are compared whole."""
    his: int
    others: int
    auc: float
    least: float
    caught: float
    false_alarms: float
    most: float
    most_around: float
    copies_caught: float
    copies_false: float


def measure(folders: Folders, config: RenderConfig, progress: Counted | None = None) -> Calibrated:
    """Return the calibration of the config's character, after writing it.

    Raises:
        InputError: a picture can't be read, or nothing tells the two sides apart.
        StorageError: the LoRA's folder can't be written.
        ModelError, OutOfMemory: see `models.errors`.
    """
    from models.vision.calibrating import calibrate, copies_of, pair_of
    from models.vision.likeness import encoder_fingerprint, encoder_of, see

    files, adapter, profile = (*folders.his, *folders.others), config.setup.adapter, config.setup.profile
    assert adapter is not None
    looked = _look(files, config, progress)
    encoder = encoder_of(profile, config.setup.scoring_device)
    seen = [one for start in range(0, len(looked), 16) for one in see(encoder, looked[start : start + 16])]
    count = len(folders.his)
    copies = [
        pair_of(own, copy)
        for own, (image, hero) in zip(seen[:count], looked[:count], strict=True)
        for copy in see(encoder, copies_of(image, hero))
    ]
    fingerprint = encoder_fingerprint(profile)
    made = calibrate(seen[:count], seen[count:], copies, trigger=profile.trigger, encoder=fingerprint)
    file = calibration_file(Path(adapter.path))
    picture = file.with_suffix(".png")
    write_atomically(picture, draw_curve(made))
    write_atomically(file, made.model_dump_json(indent=1).encode() + b"\n")
    return _told(made, file, picture, sum(hero.found for _, hero in looked[:count]))


def _look(files: Sequence[str], config: RenderConfig, progress: Counted | None) -> list[Looked]:
    from models.diffusion.loading import load
    from models.diffusion.looking import look

    models, profile, looked = load(config.setup), config.setup.profile, list["Looked"]()
    for number, file in enumerate(files, start=1):
        looked += look(models, profile, [(open_picture(Path(file)), caption_of(Path(file)))])
        if progress is not None:
            progress(number, len(files))
    return looked


def _told(made: Calibration, file: Path, picture: Path, found: int) -> Calibrated:
    return Calibrated(
        file=str(file),
        picture=str(picture),
        found=found,
        his=made.his,
        others=made.others,
        auc=made.auc,
        least=made.bounds.least,
        caught=made.caught,
        false_alarms=made.false_alarms,
        most=made.bounds.most,
        most_around=made.bounds.most_around,
        copies_caught=made.copies_caught,
        copies_false=made.copies_false,
    )


def page_of(told: Calibrated) -> str:
    """Return the dashboard's page: the ROC and the thresholds."""
    from models.board.markdown import code, inline_picture

    rows = [
        ("pictures of him; in how many he was found", f"{told.his}; {told.found}"),
        ("pictures of others", f"{told.others}"),
        ("area under the ROC", f"{told.auc:.3f}"),
        ("least likeness", f"{told.least:.3f}"),
        ("others under it", f"{100 * told.caught:.1f} %"),
        ("his under it", f"{100 * told.false_alarms:.1f} %"),
        ("a copy: crop and surroundings at least", f"{told.most:.3f} and {told.most_around:.3f}"),
        ("copies above both", f"{100 * told.copies_caught:.1f} %"),
        ("different pictures of him above both", f"{100 * told.copies_false:.1f} %"),
    ]
    head = [inline_picture(Path(told.picture).read_bytes(), "png", "ROC"), "", f"Kept in {code(told.file)}.", ""]
    return "\n".join([*head, "| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]) + "\n"
