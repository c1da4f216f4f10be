"""Finds the hero in any picture, as painting finds him in its own: for pictures that a character is calibrated on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from PIL import Image

from models.diffusion.attention import Inputs
from models.diffusion.compute import compute
from models.diffusion.hero import find_heroes
from models.diffusion.loading import Models
from models.diffusion.painter import starting_noise
from models.diffusion.requests import PaintRequest
from models.diffusion.vae import decode_one, encode_one, to_image
from models.profiles import Profile
from models.scores import Hero
from models.sizes import GRAIN, Size

SEED = 0
"""Of the noise that is added to a picture's latents."""


class Looked(NamedTuple):
    """A picture as the base's VAE shows it, and where the hero is in it."""

    image: Image.Image
    hero: Hero


def look(models: Models, profile: Profile, pictures: Sequence[tuple[Image.Image, str]]) -> Iterator[Looked]:
    """Yield where the hero is in each picture, and the picture as the base would show it if it painted it perfectly.

    Args:
        models: the profile's base with the character's LoRA.
        profile: says his trigger word and the base's size.
        pictures: each with its caption; one without the trigger word is read as the trigger word alone.

    Raises:
        OutOfMemory: a picture does not fit.
    """
    for image, caption in pictures:
        yield _look(models, profile, image.convert("RGB"), caption)


def _look(models: Models, profile: Profile, image: Image.Image, caption: str) -> Looked:
    size = _size(image, profile.native_size)
    prompt = caption if profile.trigger in caption.split() else profile.trigger
    request = PaintRequest(
        prompt=prompt,
        negative_prompt="",
        seed=SEED,
        size=size,
        original_scale=profile.original_scale,
        steps=1,
        guidance=1.0,
        control=None,
        trigger=profile.trigger,
    )

    def found() -> Looked:
        with models.lock, torch.inference_mode():
            latents = encode_one(models.plain.vae, image.resize(size, Image.Resampling.BICUBIC), models.device)
            noise = starting_noise(SEED, size, latents.shape[1])
            (hero,) = find_heroes(models.plain, [request], latents, noise, _inputs(models, request))
            pixels = decode_one(models.plain.vae, latents)
        assert hero is not None
        return Looked(to_image(pixels), hero)

    return compute(models.device, found)


def _size(image: Image.Image, native: int) -> Size:
    """Return a size of the picture's shape with about as many pixels as the base's squares."""
    stretch = (image.width / image.height) ** 0.5
    width, height = (max(8, round(side / GRAIN)) * GRAIN for side in (native * stretch, native / stretch))
    return Size(width, height)


def _inputs(models: Models, request: PaintRequest) -> Inputs:
    """Return the UNet's text and size inputs for a request, as the pipeline makes them."""
    pipeline = models.plain
    text, _, pooled, _ = pipeline.encode_prompt(request.prompt, device=models.device, do_classifier_free_guidance=False)
    sides = (request.size.height, request.size.width)
    sizes = [*(round(side * request.original_scale) for side in sides), 0, 0, *sides]
    inputs = Inputs()
    inputs.text = text
    inputs.added = {"text_embeds": pooled, "time_ids": torch.tensor([sizes], device=models.device, dtype=text.dtype)}
    return inputs
