"""What a painter does: loads models, paints and scores frames. Plain records in, a picture and its scores out.

A painter has no memory of finished work: the store stays with who asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from PIL import Image

from models.diffusion.machine import Machine
from models.diffusion.requests import PainterSetup, PaintRequest
from models.progress import GoOn, Progress
from models.records import LoraUse, Record, Weights
from models.scores import Hero, Likeness, Scores


class Watch(NamedTuple):
    """What a caller that waits is called back by, in its own thread. What they raise ends a painting for it alone."""

    on_progress: Progress | None = None
    """Called with the share of the painting done, 0..1."""
    go_on: GoOn | None = None
    """Called now and then, also before the painting begins."""


class Turnaround(NamedTuple):
    """What a frame's order took at a painter."""

    waiting: float = 0.0
    """Seconds in the queue."""
    painting: float = 0.0
    """Seconds of painting and scoring."""
    ahead: int = 0
    """Frames, of any run, that were before it in the painter's queue when it came."""


OnPainted = Callable[[Turnaround], None]
"""Called once a candidate is painted."""

UNWATCHED = Watch()


class Shown(NamedTuple):
    """A picture and where the hero is in it."""

    image: Image.Image
    hero: Hero | None


class FrameOrder(Record):
    """One frame to paint and to score."""

    setup: PainterSetup
    request: PaintRequest
    reference: str | None
    """Picture of frame 1, with which it is compared; None if this is frame 1."""
    reference_hero: Hero | None = None
    """Where the hero is in that picture."""
    calibration: str | None = None
    """File of the character's calibration, if he has one."""
    weights: Weights | None = None
    """The weights that the run's report names; a painter elsewhere paints with no others."""
    encoder: str | None = None
    """The same of what compares the hero's crops."""
    urgent: bool = True
    """Whether somebody waits for it; such frames are painted before others."""
    lingers: bool = True
    """Whether it waits a moment for others that fit it."""


class Loaded(Record):
    """What only loading the models can tell."""

    weights: Weights
    loras: tuple[LoraUse, ...]
    """The layers that each LoRA changed."""
    encoder: str
    """Fingerprint of what compares the hero's crops."""


@dataclass(frozen=True)
class ScoredPicture:
    """A painted frame."""

    image: Image.Image
    """RGB, of the requested size."""
    scores: Scores
    took: Turnaround


class Painter(Protocol):
    """Paints and scores frames. Safe to call from many threads."""

    def machine(self) -> Machine:
        """Return the device that paints where the options name none.

        Raises:
            ImportError, OSError: torch can't be imported.
            PaintersUnreachable: there is no painter.
        """

    def count(self) -> int | None:
        """Return how many painters there are now; None if nobody can say.

        Raises:
            PaintersUnreachable: there is no painter.
        """

    def load(self, setup: PainterSetup) -> Loaded:
        """Load the setup's models, unless they are loaded, and return what they are.

        Raises:
            ModelError, StorageError, OutOfMemory: see `models.errors`.
        """

    def paint(self, order: FrameOrder, watch: Watch) -> ScoredPicture:
        """Return a frame, painted in one batch with others that wait for the same models and settings.

        Args:
            order: the frame.
            watch: what is called in this thread meanwhile; what it raises is raised here.

        Raises:
            PaintError, ScoreUnavailable, ModelError, StorageError: see `models.errors`.
        """

    def similarity(self, setup: PainterSetup, one: Image.Image, other: Image.Image) -> float:
        """Return the CLIP cosine of two pictures, -1..1.

        Raises:
            ScoreUnavailable, ModelError, StorageError: see `models.errors`.
        """

    def likeness(
        self, setup: PainterSetup, calibration: str | None, shown: Shown, reference: Shown | None
    ) -> Likeness | None:
        """Return how alike the hero is to frame 1's and to his calibrated pictures.

        None where he was not found, or there is nothing to compare him with.

        Raises:
            ScoreUnavailable, ModelError, StorageError: see `models.errors`.
        """
