"""Flawed faces of Aldar, from which the classifier learns to tell a whole face: eyes, beard, no smear."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from steppe.draw import Head

DRAWN = ("eyes", "beard")
"""Left out by the drawing itself."""
SPOILED = ("blur", "jumble", "melt", "waves")
"""Done to the finished picture."""
FLAWS = (*DRAWN, *SPOILED)


def spoil(picture: Any, head: Head, flaw: str, dice: random.Random) -> Any:
    """Return a copy of uint8 [H, W, 3] with the face of `head` spoiled; a flaw of DRAWN changes nothing."""
    x, y, radius = head
    left, right = round(x - 1.2 * radius), round(x + 1.2 * radius)
    top, bottom = round(y - 0.6 * radius), round(y + 1.5 * radius)
    box = (max(left, 0), max(top, 0), min(right, picture.shape[1]), min(bottom, picture.shape[0]))
    if flaw in DRAWN or box[2] - box[0] < 4 or box[3] - box[1] < 4:
        return picture
    image = Image.fromarray(picture)
    face = image.crop(box)
    image.paste(_SPOILS[flaw](face, radius, dice), box[:2])
    return np.asarray(image)


def _blur(face: Image.Image, radius: float, dice: random.Random) -> Image.Image:
    return face.filter(ImageFilter.GaussianBlur(radius * dice.uniform(0.28, 0.6)))


def _melt(face: Image.Image, _radius: float, dice: random.Random) -> Image.Image:
    few = (dice.randint(3, 4), dice.randint(3, 5))
    return face.resize(few, Image.Resampling.BOX).resize(face.size, Image.Resampling.BICUBIC)


def _jumble(face: Image.Image, _radius: float, dice: random.Random) -> Image.Image:
    wide, high = face.width // 3, face.height // 3
    corners = [(column * wide, row * high) for column in range(3) for row in range(3)]
    cells = [face.crop((x, y, x + wide, y + high)) for x, y in corners]
    dice.shuffle(cells)
    mixed = face.copy()
    for cell, corner in zip(cells, corners, strict=True):
        mixed.paste(cell, corner)
    return mixed.filter(ImageFilter.GaussianBlur(0.8))


def _waves(face: Image.Image, radius: float, dice: random.Random) -> Image.Image:
    pixels = np.asarray(face)
    strength, length, start = radius * dice.uniform(0.35, 0.6), radius * dice.uniform(0.8, 1.6), dice.uniform(0, 6.28)
    rows, columns = np.indices(pixels.shape[:2])
    aside = (columns + strength * np.sin(rows / length * 6.28 + start)).round().clip(0, pixels.shape[1] - 1)
    down = (rows + strength * np.sin(columns / length * 6.28 + start)).round().clip(0, pixels.shape[0] - 1)
    return Image.fromarray(pixels[down.astype(int), aside.astype(int)]).filter(ImageFilter.GaussianBlur(0.8))


_SPOILS = {"blur": _blur, "melt": _melt, "jumble": _jumble, "waves": _waves}
