"""The painter in this process: its models stay loaded as long as the process runs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from models.diffusion.machine import Machine, this_machine
from models.diffusion.requests import PainterSetup
from models.loras import fingerprint_of
from models.painters.measuring import likeness_of, measure, while_nothing_is_painted
from models.painters.painter import FrameOrder, Loaded, ScoredPicture, Shown, Turnaround, Watch
from models.records import Weights
from models.scores import Likeness


class EmbeddedPainter:
    """Paints in the device's thread of this process."""

    def machine(self) -> Machine:
        """Return this machine's device."""
        return this_machine()

    def count(self) -> int:
        """Return 1: this one."""
        return 1

    def load(self, setup: PainterSetup) -> Loaded:
        """Load base, LoRAs, ControlNet and what scores."""
        from models.diffusion.loading import load
        from models.vision.clip import load_scorer
        from models.vision.likeness import encoder_of

        with ThreadPoolExecutor(1) as aside:
            # In a thread, because hashing local folders takes longer than loading.
            found = aside.submit(self.fingerprints, setup)
            loras = load(setup).loras
            load_scorer(setup.profile, setup.scoring_device)
            encoder_of(setup.profile, setup.scoring_device)
        weights, encoder = found.result()
        return Loaded(weights=weights, loras=loras, encoder=encoder)

    def fingerprints(self, setup: PainterSetup) -> tuple[Weights, str]:
        """Return the fingerprints of the setup's files as they are now, and of what compares the hero's crops."""
        from models.diffusion.weights import fingerprints
        from models.vision.likeness import encoder_now

        weights = Weights(**fingerprints(setup), adapter=fingerprint_of(list(setup.adapters)))
        return weights, weights.clip if setup.profile.dino is None else encoder_now(setup.profile)

    def paint(self, order: FrameOrder, watch: Watch) -> ScoredPicture:
        """Paint and score a frame."""
        from models.diffusion.batcher import Turn, paint_together

        asked = time.monotonic()
        painting = paint_together(order.setup, order.request, *watch, Turn(order.urgent, order.lingers))
        scores = measure(order, painting)
        seconds = time.monotonic() - asked
        took = Turnaround(painting.waiting, seconds - painting.waiting, painting.ahead)
        return ScoredPicture(painting.image, scores, took)

    def similarity(self, setup: PainterSetup, one: Image.Image, other: Image.Image) -> float:
        """Return the CLIP cosine of two pictures."""
        from models.vision.clip import load_scorer

        return load_scorer(setup.profile, setup.scoring_device).similarity(one, other)

    def likeness(
        self, setup: PainterSetup, calibration: str | None, shown: Shown, reference: Shown | None
    ) -> Likeness | None:
        """Return how alike the hero is to frame 1's and to his calibrated pictures."""
        return while_nothing_is_painted(setup, lambda: likeness_of(setup, calibration, shown, reference))
