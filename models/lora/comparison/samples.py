"""Pictures that a checkpoint, or the bare base, paints for the comparison: kept on disk, and not painted twice.

    samples/
        base/01_42.png             prompt 1 with seed 42, with its recipe in it
        base/01_42.json            written after it: the key of what decides the picture, and its sha256
        checkpoint-100/01_42.png

A picture counts as there only if its key and its bytes are the right ones. So a retry goes on where the work stands,
and another adapter, prompt or setting paints anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models.diffusion.requests import PainterSetup, PaintRequest
from models.errors import StorageError
from models.frames.recipe import Recipe, png_bytes
from models.progress import StageProgress
from models.records import Record
from models.storage.content_store import content_key
from models.storage.files import sha256_of, write_atomically

if TYPE_CHECKING:
    from models.diffusion.painter import Painting

VERSION = 2
"""Raise it when the same inputs would give another picture."""
KIND = "samples"


class Sample(Record):
    """One picture that is there."""

    file: str
    """Absolute path of its PNG."""
    finite: bool
    """False where the model gave numbers that are not finite: the picture then means nothing."""


class _Entry(Record):
    """What is written beside a picture."""

    key: str
    sha256: str
    finite: bool


class Painted(NamedTuple):
    """What one checkpoint, or the base, painted: prompt after prompt, the seeds of each in order."""

    step: int
    """0 for the base."""
    character: tuple[tuple[Sample, ...], ...]
    unrelated: tuple[tuple[Sample, ...], ...]

    @property
    def broken(self) -> int:
        """Pictures of numbers that are not finite."""
        return sum(not sample.finite for seeds in (*self.character, *self.unrelated) for sample in seeds)


class Wanted(NamedTuple):
    """A picture to paint."""

    number: int
    """Of its prompt, from 1."""
    request: PaintRequest

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.number:02d}_{self.request.seed}.png"


class SampleFolder:
    """The pictures of one checkpoint, or of the base.

    Args:
        folder: where they are kept.
        setup: which models paint them.
        base: fingerprint of the base.
    """

    def __init__(self, folder: Path, setup: PainterSetup, base: str) -> None:
        self.folder, self.setup, self.base = folder.absolute(), setup, base
        self.adapter = None if setup.adapter is None else setup.adapter.fingerprint

    def paint(self, pictures: Sequence[Wanted], progress: StageProgress) -> dict[Wanted, Sample]:
        """All these pictures; missing ones are painted. If none is missing, no model is loaded.

        Args:
            pictures: their requests share a `batch_key`.
            progress: called with the share of these pictures.

        Raises:
            OutOfMemory, PaintError, ModelError, StorageError: see `models.errors`.
        """
        kept = {picture: sample for picture in pictures if (sample := self.find(picture)) is not None}
        missing = [picture for picture in pictures if picture not in kept]
        total, done = len(pictures), len(kept)
        progress(f"{self.folder.name}: {done} of {total} pictures are there", done / total)
        if missing:
            kept |= self._paint(missing, lambda what, share: progress(what, (done + share * len(missing)) / total))
        return kept

    def find(self, picture: Wanted) -> Sample | None:
        """The picture, or None where it is missing, changed or of another key."""
        file = self.folder / picture.name
        try:
            entry = _Entry.model_validate_json(file.with_suffix(".json").read_bytes())
            if entry.key != self._key(picture.request) or entry.sha256 != sha256_of(file):
                return None
        except (OSError, ValueError, StorageError):
            return None
        return Sample(file=str(file), finite=entry.finite)

    def _paint(self, missing: Sequence[Wanted], progress: StageProgress) -> dict[Wanted, Sample]:
        """Paint batch after batch. No variable here holds the models, so that the next `load` can free them."""
        from models.diffusion.fitting import paint_fitting

        name, size = self.folder.name, self.setup.batch_size
        painted: dict[Wanted, Sample] = {}
        for first in range(0, len(missing), size):
            batch = missing[first : first + size]

            def report(share: float, first: int = first, batch: Sequence[Wanted] = batch) -> None:
                what = f"{name}: painting {first + len(batch)} of {len(missing)}"
                progress(what, (first + share * len(batch)) / len(missing))

            requests = [picture.request for picture in batch]
            paintings = paint_fitting(
                self.setup, requests, report, loading=lambda what, share: progress(f"{name}: loading {what}", 0.0)
            )
            painted |= {one: self._keep(one, painting) for one, painting in zip(batch, paintings, strict=True)}
        return painted

    def _keep(self, picture: Wanted, painting: Painting) -> Sample:
        """Write the picture, then its key and checksum, without which it does not count."""
        file = self.folder / picture.name
        data = png_bytes(painting.image, self._recipe(picture))
        write_atomically(file, data)
        entry = _Entry(key=self._key(picture.request), sha256=hashlib.sha256(data).hexdigest(), finite=painting.finite)
        write_atomically(file.with_suffix(".json"), (entry.model_dump_json(indent=1) + "\n").encode())
        return Sample(file=str(file), finite=painting.finite)

    def _key(self, request: PaintRequest) -> str:
        """Everything that decides the pixels, and nothing else."""
        return content_key(
            KIND,
            version=VERSION,
            request=request.model_dump(exclude={"trigger"}),  # it changes no pixel
            profile=self.setup.profile.name,
            base=self.base,
            adapter=self.adapter,
            precision=self.setup.precision,
            device=self.setup.device.partition(":")[0],
        )

    def _recipe(self, picture: Wanted) -> Recipe:
        return Recipe(
            **picture.request.model_dump(exclude={"control", "trigger"}),
            profile=self.setup.profile.name,
            base=self.base,
            adapter=self.adapter,
            control=None,
            frame=picture.number,
        )
