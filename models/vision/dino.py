"""DINOv2: similarity of two pictures (Oquab et al. 2023, https://arxiv.org/abs/2304.07193).

It tells individuals apart where CLIP tells kinds apart. A picture's feature is the class token after the last layer
norm. DreamBooth's metric DINO-I (https://arxiv.org/abs/2208.12242) uses the same of an earlier DINO.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.bases.hub import fetch
from models.bases.layouts import read_json
from models.diffusion.compute import compute
from models.diffusion.loading import quieten
from models.diffusion.weights import read_model
from models.sources import Component
from models.vision.shelf import Shelf, unit_vectors
from models.vision.squares import in_square

if TYPE_CHECKING:
    import torch
    from PIL import Image

logger = logging.getLogger("models.vision")


@dataclass(frozen=True)
class DinoEncoder:
    """A loaded DINOv2. It has no mutable state, so several threads may use it."""

    model: Any
    """`transformers.Dinov2Model`."""
    processor: Any
    """`transformers.BitImageProcessorPil`, so that features are the same with and without torchvision."""

    def image_features(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Return unit vectors, float32 [images, features].

        Raises:
            ScoreUnavailable: numbers that are not finite.
            OutOfMemory: retryable.
        """
        squares = [in_square(image, self.processor.image_mean) for image in images]
        pixels = self.processor(images=squares, return_tensors="pt").pixel_values
        return compute(str(self.model.device), lambda: self._features(pixels), beside=True)

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        model = self.model
        return unit_vectors("DINOv2", lambda: model(pixel_values=pixels.to(model.device)).last_hidden_state[:, 0])


def load_dino(component: Component, device: str) -> DinoEncoder:
    """Return a DINOv2, loaded by the first caller and shared by later ones; raises as `Shelf.load`."""
    return _SHELF.load(component, device)


def unload_dino() -> None:
    """Drop the loaded DINOv2."""
    _SHELF.drop()


def _load(component: Component, device: str) -> DinoEncoder:
    import torch
    from transformers import BitImageProcessorPil, Dinov2Model

    logger.info("loading: dino %s", component.source)
    quieten()
    folder = fetch(component)
    model = read_model(Dinov2Model, folder, component, torch.float32, device)
    known = read_json(folder / "preprocessor_config.json")
    settings = {name: known[name] for name in _PROCESSOR_SETTINGS if name in known}
    return DinoEncoder(model, BitImageProcessorPil(**settings))


_SHELF = Shelf(_load)


_PROCESSOR_SETTINGS = ("size", "resample", "crop_size", "rescale_factor", "image_mean", "image_std", "do_center_crop")
