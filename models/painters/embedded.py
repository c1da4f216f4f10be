"""The painter in this process: its models stay loaded as long as the process runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from models.diffusion.requests import PainterSetup
from models.loras import fingerprint_of
from models.painters.measuring import likeness_of, measure, while_nothing_is_painted
from models.painters.painter import FrameOrder, Loaded, ScoredPicture, Shown, Watch
from models.records import Weights
from models.scores import Likeness


class EmbeddedPainter:
    """Paints in the device's thread of this process."""

    def load(self, setup: PainterSetup) -> Loaded:
        """Load base, LoRAs, ControlNet and what scores."""
        from models.diffusion.loading import load
        from models.diffusion.weights import fingerprints
        from models.vision.clip import load_scorer
        from models.vision.likeness import encoder_fingerprint, encoder_of

        with ThreadPoolExecutor(1) as aside:
            # In a thread, because hashing local folders takes longer than loading.
            hashes = aside.submit(fingerprints, setup)
            loras = load(setup).loras
            load_scorer(setup.profile, setup.scoring_device)
            encoder_of(setup.profile, setup.scoring_device)
        weights = Weights(**hashes.result(), adapter=fingerprint_of(list(setup.adapters)))
        return Loaded(weights=weights, loras=loras, encoder=encoder_fingerprint(setup.profile))

    def paint(self, order: FrameOrder, watch: Watch) -> ScoredPicture:
        """Paint and score a frame."""
        from models.diffusion.batcher import paint_together

        painting = paint_together(order.setup, order.request, *watch)
        return ScoredPicture(painting.image, measure(order, painting))

    def similarity(self, setup: PainterSetup, one: Image.Image, other: Image.Image) -> float:
        """Return the CLIP cosine of two pictures."""
        from models.vision.clip import load_scorer

        return load_scorer(setup.profile, setup.scoring_device).similarity(one, other)

    def likeness(
        self, setup: PainterSetup, calibration: str | None, shown: Shown, reference: Shown | None
    ) -> Likeness | None:
        """Return how alike the hero is to frame 1's and to his calibrated pictures."""
        return while_nothing_is_painted(setup, lambda: likeness_of(setup, calibration, shown, reference))
