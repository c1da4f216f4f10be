"""CLIP: similarity of two pictures, and of a picture and a text.

Scores are cosines of CLIP's projected features (Radford et al. 2021, https://arxiv.org/abs/2103.00020), computed in
fp32 on every device. A threshold is valid only for the CLIP with which it was chosen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.bases.hub import fetch
from models.bases.layouts import read_json
from models.diffusion.compute import compute
from models.diffusion.loading import quieten, read_tokenizer
from models.diffusion.weights import read_model
from models.errors import ScoreUnavailable
from models.profiles import Profile
from models.vision.shelf import Shelf, unit_vectors
from models.vision.squares import in_square

if TYPE_CHECKING:
    import torch
    from PIL import Image

logger = logging.getLogger("models.vision")


@dataclass(frozen=True)
class ClipScorer:
    """A loaded CLIP. It has no mutable state, so several threads may use it."""

    model: Any
    """`transformers.CLIPModel`."""
    processor: Any
    """`transformers.CLIPImageProcessorPil`, so that scores are the same with and without torchvision."""
    tokenizer: Any
    trigger: str
    """The trigger word, which stays when a long prompt is cut."""

    def image_features(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Return unit vectors, float32 [images, features].

        Raises:
            ScoreUnavailable: CLIP returned numbers that are not finite.
            OutOfMemory: retryable.
        """
        whole = [self._in_square(image) for image in images]
        pixels = self.processor(images=whole, return_tensors="pt").pixel_values
        return self._compute(lambda: self._features(self.model.get_image_features, pixel_values=pixels))

    def _in_square(self, image: Image.Image) -> Image.Image:
        return in_square(image, self.processor.image_mean)

    def text_features(self, text: str) -> torch.Tensor:
        """Return the text's unit vector, float32 [1, features]; a text over the model's length is shortened."""
        tokens = self.tokenizer(self.shorten(text), truncation=True, return_tensors="pt")
        words = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        return self._compute(lambda: self._features(self.model.get_text_features, **words))

    def _compute(self, work: Callable[[], torch.Tensor]) -> torch.Tensor:
        return compute(str(self.model.device), work, beside=True)

    def similarity(self, a: Image.Image, b: Image.Image) -> float:
        """Return the cosine of two pictures, -1..1."""
        first, second = self.image_features([a, b])
        return float(first @ second)

    def scores(
        self, image: Image.Image, prompt: str, reference: Image.Image | None = None
    ) -> tuple[float | None, float]:
        """Return the cosines of a picture with the reference (None without one) and with its prompt, -1..1."""
        own, *others = self.image_features([image] if reference is None else [image, reference])
        return next((float(own @ other) for other in others), None), float(own @ self.text_features(prompt)[0])

    def shorten(self, text: str) -> str:
        """Return the text without the last words over the model's length; the trigger word stays."""
        words = text.split()
        while len(self.tokenizer(" ".join(words)).input_ids) > self.tokenizer.model_max_length:
            spare = [place for place, word in enumerate(words) if word.strip(".,;:") != self.trigger]
            if not spare:
                break
            del words[spare[-1]]
        return " ".join(words)

    def _features(self, encode: Callable[..., Any], **inputs: torch.Tensor) -> torch.Tensor:
        """Return projected features, normalized to length 1."""

        def encode_all() -> torch.Tensor:
            output = encode(**{name: value.to(self.model.device) for name, value in inputs.items()})
            # transformers 4 returns the projected tensor itself, 5 an output with it as pooler_output.
            features: torch.Tensor = getattr(output, "pooler_output", output)
            return features

        unit, wanted = unit_vectors("CLIP", encode_all), self.model.config.projection_dim
        if unit.shape[-1] != wanted:
            raise ScoreUnavailable(f"CLIP returned {unit.shape[-1]} features, its projection has {wanted}")
        return unit


def load_scorer(profile: Profile, device: str) -> ClipScorer:
    """Return a profile's CLIP, loaded by the first caller and shared by later ones; raises as `Shelf.load`."""
    return _SHELF.load(profile, device)


def unload_scorer() -> None:
    """Drop the loaded CLIP."""
    _SHELF.drop()


def _load(profile: Profile, device: str) -> ClipScorer:
    import torch
    from transformers import CLIPImageProcessorPil, CLIPModel

    logger.info("loading: clip %s", profile.clip.source)
    quieten()
    folder = fetch(profile.clip)
    model = read_model(CLIPModel, folder, profile.clip, torch.float32, device)
    config = read_json(folder / "preprocessor_config.json")
    processor = CLIPImageProcessorPil(**{name: value for name, value in config.items() if name in _PROCESSOR_SETTINGS})
    longest = model.config.text_config.max_position_embeddings
    return ClipScorer(model, processor, read_tokenizer(folder, longest), profile.trigger)


_SHELF = Shelf(_load)


_PROCESSOR_SETTINGS = (
    "do_resize",
    "size",
    "resample",
    "do_center_crop",
    "crop_size",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
    "do_convert_rgb",
)
