"""CLIP: similarity of two pictures, and of a picture and a text.

Scores are cosines of CLIP's projected features (Radford et al. 2021, https://arxiv.org/abs/2103.00020), computed in
fp32 on every device. A threshold is valid only for the CLIP with which it was chosen.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.bases.hub import fetch
from models.bases.layouts import read_json
from models.diffusion.compute import compute
from models.diffusion.loading import quieten, read_tokenizer
from models.diffusion.weights import check_device, is_out_of_memory, read_model
from models.errors import OutOfMemory, ScoreUnavailable
from models.profiles import Profile
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
        import torch

        try:
            with torch.inference_mode():
                output = encode(**{name: value.to(self.model.device) for name, value in inputs.items()})
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemory("no memory left on the device to score a picture; try --batch-size 1") from error
            raise
        # transformers 4 returns the projected tensor itself, 5 an output with it as pooler_output.
        features: torch.Tensor = getattr(output, "pooler_output", output).float().cpu()
        if features.shape[-1] != self.model.config.projection_dim:
            raise ScoreUnavailable(
                f"CLIP returned {features.shape[-1]} features, its projection has {self.model.config.projection_dim}"
            )
        length = features.norm(dim=-1, keepdim=True)
        if not bool(features.isfinite().all()) or not bool((length > 0).all()):
            raise ScoreUnavailable("CLIP returned features that are not finite, so there is no score")
        unit: torch.Tensor = features / length
        return unit


class _ModelCache:
    """Holds the one loaded CLIP."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.key: tuple[Profile, str] | None = None
        self.scorer: ClipScorer | None = None


_MODEL_CACHE = _ModelCache()


def load_scorer(profile: Profile, device: str) -> ClipScorer:
    """Return a profile's CLIP, loaded by the first caller and shared by later ones.

    Raises:
        InputError: unknown device.
        WeightsInvalid, ConnectionFailed, OutOfMemory: see `models.errors`. Nothing is cached then.
    """
    return compute(device, lambda: _shelved(profile, device), beside=True)


def _shelved(profile: Profile, device: str) -> ClipScorer:
    key = (profile, device)
    with _MODEL_CACHE.lock:
        if _MODEL_CACHE.scorer is None or _MODEL_CACHE.key != key:
            _MODEL_CACHE.scorer = _MODEL_CACHE.key = None
            check_device(device)
            _MODEL_CACHE.scorer, _MODEL_CACHE.key = _load(*key), key
        return _MODEL_CACHE.scorer


def unload_scorer() -> None:
    """Drop the loaded CLIP."""
    with _MODEL_CACHE.lock:
        _MODEL_CACHE.scorer = _MODEL_CACHE.key = None


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
