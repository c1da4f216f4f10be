"""Pictures as encoders see them: squares with margins of a mean colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def in_square(image: Image.Image, mean: Sequence[float]) -> Image.Image:
    """Return the picture in RGB with margins that make it square; a square unchanged.

    Encoders see squares, and their processors would cut a picture's ends off or squash it. The margins have the mean
    colour of the encoder's training, which the processor turns into zeros, as in LLaVA
    (https://github.com/haotian-liu/LLaVA, `expand2square`).

    Args:
        mean: red, green and blue, 0..1.
    """
    from PIL import Image

    image = image.convert("RGB")
    if image.width == image.height:
        return image
    side = max(image.size)
    square = Image.new("RGB", (side, side), tuple(round(255 * value) for value in mean))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square
