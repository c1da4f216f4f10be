"""Views of scenes for training: whole drawings, parts of larger ones, and drawings that were small.

SDXL's UNet is told the size of the original, where it was cropped, and the size of the picture
(https://arxiv.org/abs/2307.01952, section 2.2). So that this means something to the steppe base, some of its drawings
are cropped from another shape, and some were drawn smaller and scaled up.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from steppe.draw import Head, draw_scene
from steppe.flawed_faces import spoil
from steppe.world import Scene

CROPPED, SMALL = 0.12, 0.12
"""Shares of the views that are cropped, and that were small."""
MOST_SCALED = 6.0
"""The original of a whole view is up to so many times larger."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One picture as a training sees it."""

    picture: Any
    """uint8 [H, W, 3]."""
    sizes: tuple[int, ...]
    """SDXL's micro-conditioning: height and width of the original, top and left of the crop, height and width."""
    heads: tuple[Head, ...]
    """Each person's."""


def whole_view(scene: Scene, seed: int, size: tuple[int, int], original: float = 1.0) -> View:
    """Return the whole drawing, as if scaled down from an original `original` times its size."""
    drawing, (width, height) = draw_scene(scene, seed, size), size
    picture = np.asarray(drawing.image)
    for person, head in zip(scene.people, drawing.heads, strict=True):
        if person.flaw:
            picture = spoil(picture, head, person.flaw, random.Random(f"{seed}/flaw"))
    sizes = (round(height * original), round(width * original), 0, 0, height, width)
    return View(picture=picture, sizes=sizes, heads=drawing.heads)


def random_view(scene: Scene, seed: int, size: tuple[int, int]) -> View:
    """Return a random view of a scene, always the same for a scene, seed and size."""
    dice = random.Random(f"{seed}/view")
    kind = dice.random()
    if kind < CROPPED:
        return _cropped(scene, seed, size, dice)
    if kind < CROPPED + SMALL:
        return _small(scene, seed, size, dice.uniform(1.3, 3.0))
    return whole_view(scene, seed, size, 1.0 if dice.random() < 0.5 else dice.uniform(1.0, MOST_SCALED))


def _cropped(scene: Scene, seed: int, size: tuple[int, int], dice: random.Random) -> View:
    """Draw a wider or higher picture, and cut one of `size` out of it."""
    width, height = size
    longer, along = dice.uniform(1.25, 1.75), dice.random()
    sideways = dice.random() < 0.5 if width == height else height > width
    full = (round(width * longer), height) if sideways else (width, round(height * longer))
    left, top = round((full[0] - width) * along), round((full[1] - height) * along)
    drawing, scaled = draw_scene(scene, seed, full), dice.uniform(1.0, 4.0)
    picture = np.asarray(drawing.image)[top : top + height, left : left + width]
    sizes = (round(full[1] * scaled), round(full[0] * scaled), top, left, height, width)
    heads = tuple((x - left, y - top, radius) for x, y, radius in drawing.heads)
    return View(picture=picture, sizes=sizes, heads=heads)


def _small(scene: Scene, seed: int, size: tuple[int, int], smaller: float) -> View:
    """Scale a drawing down and up again."""
    drawing = draw_scene(scene, seed, size)
    width, height = (round(side / smaller) for side in size)
    small = drawing.image.resize((width, height), Image.Resampling.LANCZOS)
    picture = np.asarray(small.resize(size, Image.Resampling.BICUBIC))
    return View(picture=picture, sizes=(height, width, 0, 0, size[1], size[0]), heads=drawing.heads)
