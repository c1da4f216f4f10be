"""The hero's box, from the attention to his trigger word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from models.diffusion.attention import Inputs, attention_maps, positions_of
from models.diffusion.requests import PaintRequest
from models.scores import Hero
from models.sizes import Size

HEIGHT = 0.3
"""The box is around what is above the map's median by this share of what its peak is. Where less counts, it reaches to
whoever stands beside him. With MARGIN and ABOVE it told best who is him and who wears only his robe, of ten choices on
drawings of the steppe world."""
MARGIN, ABOVE = 0.1, 0.2
"""Added on each side, as a share of the box's own, and above it: hats are noticed least."""
LEAST_PEAK = 1.5
"""Least peak, where 1 is the map's mean. Random models: at most 1.1."""
LARGEST = 0.85
"""Share of the picture that a box may cover."""


def find_heroes(
    pipeline: Any, requests: Sequence[PaintRequest], latents: Tensor, noise: Tensor, inputs: Inputs
) -> list[Hero | None]:
    """Return where each request's trigger word acts in its picture; None for a request that names none.

    Args:
        pipeline: that painted the latents, without graphs.
        latents: painted, [N, channels, height, width].
        noise: that they were painted from.
        inputs: what its UNet was painted with.
    """
    places = [positions_of(pipeline.tokenizer, request.prompt, request.trigger) for request in requests]
    maps = attention_maps(pipeline.unet, pipeline.scheduler, latents, noise, inputs, places)
    pairs = zip(requests, maps, strict=True)
    return [hero_of(found, request.size) if request.trigger else None for request, found in pairs]


def hero_of(found: Tensor | None, size: Size) -> Hero:
    """Return where the hero is, or that he was not found and why.

    Args:
        found: attention to the trigger word, 1 is its mean, [rows, columns]; None if the prompt does not have the word.
        size: of the picture.
    """
    if found is None:
        return Hero(found=False, why="his trigger word is not in the prompt")
    if not bool(found.isfinite().all()):
        return Hero(found=False, why="the attention is not finite")
    smooth = _smoothed(found.double().numpy())
    peak, middle = float(smooth.max()), float(np.median(smooth))
    if peak < LEAST_PEAK:
        return Hero(found=False, why=f"attention is even: its peak is {peak:.2f} of the mean, least {LEAST_PEAK}")
    part = _strongest_part(smooth, middle + HEIGHT * (peak - middle))
    box = _box(part, size)
    share = (box[2] - box[0]) * (box[3] - box[1]) / size.pixels
    if share > LARGEST:
        return Hero(found=False, why=f"his box is {share:.2f} of the picture, most {LARGEST}")
    return Hero(found=True, box=box)


def _smoothed(values: np.ndarray) -> np.ndarray:
    import cv2

    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigmaX=1.4, borderType=cv2.BORDER_REPLICATE))


def _strongest_part(values: np.ndarray, least: float) -> np.ndarray:
    """Return the connected part above `least` that holds most attention, as a mask."""
    import cv2

    _, labels = cv2.connectedComponents((values >= least).astype(np.uint8), connectivity=4)
    strength = np.bincount(labels.ravel(), weights=(values - least).ravel())
    strength[0] = -np.inf  # the rest of the picture
    return np.asarray(labels == int(strength.argmax()))


def _box(part: np.ndarray, size: Size) -> tuple[int, int, int, int]:
    """Return the box around a mask with its margin, in pixels of the picture."""
    edges = []
    for axis, side in ((0, size.width), (1, size.height)):
        inside = np.flatnonzero(part.any(axis=axis))
        scale = side / part.shape[1 - axis]
        first, last = inside[0] * scale, (inside[-1] + 1) * scale
        margin = MARGIN * (last - first)
        edges.append((max(0, round(first - margin)), min(side, round(last + margin))))
    (left, right), (upper, lower) = edges
    return left, max(0, upper - round(ABOVE * (lower - upper))), right, lower
