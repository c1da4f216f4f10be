"""Finds anomalies from pixel statistics: black, empty, noisy, clipped or copied pictures.

Every limit was measured on 400 drawings of the steppe world (256 px) and on spoilt copies of them; the measurements
are given with the limits. `python -m steppe.figures --only anomalies` shows the margins of good paintings. Pictures are
compared at as many pixels as 256x256 has, so that a limit means the same at every size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.scores import Bounds, Likeness
from models.sizes import Size

Grey = NDArray[np.float32]

SIDE = 256
"""Side in pixels at which squares are compared; other shapes have as many pixels."""
MIN_DEVIATION = 8.0
"""Least standard deviation of brightness, 0..255. Drawings: 30 to 76; paintings: 28 and more."""
MIN_BRIGHTEST = 24.0
"""Least brightness of the brightest hundredth of the pixels. Drawings: 184 and more; paintings: 188 and more."""
MAX_ROUGHNESS = 0.3
"""Largest roughness. Drawings: up to 0.033; paintings: up to 0.093. White noise: 0.94; noise of 4 px grain: 0.58; a
drawing with 30 % noise: 0.41."""
MAX_CLIPPED_SHARE = 0.8
"""Largest share of pixels with all channels at 0 or 255. Drawings: up to 0.063; ink on white paper has more."""
MIN_DIFFERENCE = 47.0
"""Least difference from an earlier frame. 480 copies (shifted by 2 px, blurred, brightened, noisy or JPEG): up to 43.5.
285 pairs with the same background and person but another arm or thing: the lowest 51.9, the others 68 and more."""

_BLOCK = 8
_REACH = 4
"""Largest shift, in pixels of the compared picture, at which a copy is still found."""


def find_flaws(image: Image.Image, finite: bool) -> tuple[str, ...]:
    """Return a picture's anomalies, each a sentence with the measured value and its limit.

    Args:
        image: the picture.
        finite: whether all of the model's numbers were finite; otherwise the picture means nothing.
    """
    if not finite:
        return ("the picture is broken: the model gave numbers that are not finite",)
    pixels = _pixels(image, _compared_size(image))
    return tuple(_blank(pixels) or [*_noise(pixels), *_clipped(image)])


NEAR_COPY = "the picture is a near copy of earlier frame"
"""How a finding about a copy begins."""


def find_copies(
    image: Image.Image,
    earlier: Sequence[Image.Image],
    likeness: Likeness | None = None,
    bounds: Bounds | None = None,
) -> tuple[str, ...]:
    """Return a sentence about the nearest earlier frame if the picture is a near copy of it; else nothing.

    A copy differs by few pixels from an earlier frame, or both its hero and his surroundings are too much like frame
    1's, which also finds copies that are mirrored, cut or moved far.

    Args:
        image: the picture.
        earlier: the earlier frames, in order from frame 1.
        likeness: the hero's to frame 1's, where it was measured.
        bounds: the upper bounds of that.
    """
    if likeness is not None and bounds is not None and _is_too_alike(likeness, bounds):
        return (
            f"{NEAR_COPY} 1: its hero is {likeness.crop:.3f} alike and his surroundings {likeness.around:.3f}, the"
            f" limits are {bounds.most:.3f} and {bounds.most_around:.3f}",
        )
    if not earlier:
        return ()
    size = _compared_size(image)
    pixels = _pixels(image, size)
    apart, number = min((difference(pixels, _pixels(other, size)), number) for number, other in enumerate(earlier, 1))
    if apart >= MIN_DIFFERENCE:
        return ()
    return (f"{NEAR_COPY} {number}: they differ by {apart:.1f} at most, the limit is {MIN_DIFFERENCE:.1f}",)


def _is_too_alike(likeness: Likeness, bounds: Bounds) -> bool:
    crop, around = likeness.crop, likeness.around
    return crop is not None and around is not None and crop >= bounds.most and around >= bounds.most_around


def _compared_size(image: Image.Image) -> Size:
    """Return the size at which the picture is compared: of its shape, in whole blocks, about SIDE x SIDE pixels."""
    stretch = (image.width / image.height) ** 0.5
    blocks = (max(2, round(side / _BLOCK)) for side in (SIDE * stretch, SIDE / stretch))
    return Size(*(count * _BLOCK for count in blocks))


def _pixels(image: Image.Image, size: Size) -> Grey:
    """Return the picture in RGB at this size: float32 [height, width, 3] in 0..255."""
    small = image.convert("RGB").resize(size, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


def brightest(pixels: Grey) -> float:
    """Return the 99th percentile of the pixels' brightness, 0..255."""
    return float(np.quantile(pixels.mean(axis=2), 0.99))


def roughness(pixels: Grey) -> float:
    """Return the 25th percentile of the 8x8 blocks' deviations, divided by the whole picture's: near 1 for noise.

    Any real picture has calm areas, however detailed it is; noise has none.
    """
    grey = pixels.mean(axis=2)
    rows, columns = (side // _BLOCK for side in grey.shape)
    inside = grey.reshape(rows, _BLOCK, columns, _BLOCK).std(axis=(1, 3))
    return float(np.quantile(inside, 0.25) / max(float(grey.std()), 1e-9))


def clipped_share(image: Image.Image) -> float:
    """Return the share of pixels with all channels at 0 or 255, at the picture's own size."""
    pixels = np.asarray(image.convert("RGB"))
    return float(((pixels == 0) | (pixels == 255)).all(axis=2).mean())


def difference(first: Grey, second: Grey) -> float:
    """Return the mean absolute difference of the 8x8 block in which two pictures differ most, 0..255.

    The second is first shifted by up to 4 pixels to the best fit, so that a shifted copy still counts as a copy. The
    worst block is taken because one changed arm hardly changes the mean of the whole picture.
    """
    core, other = _inner(first), _best_shift(first, second)
    apart = np.abs(core - other).mean(axis=2)
    rows, columns = (side // _BLOCK for side in apart.shape)
    blocks = apart[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return float(blocks.mean(axis=(1, 3)).max())


def _blank(pixels: Grey) -> list[str]:
    top, deviation = brightest(pixels), float(pixels.mean(axis=2).std())
    if top < MIN_BRIGHTEST:
        return [f"the picture is black: its brightest hundredth is at {top:.1f}, the limit is {MIN_BRIGHTEST:.1f}"]
    if deviation < MIN_DEVIATION:
        return [f"the picture is empty: its brightness varies by {deviation:.1f}, the limit is {MIN_DEVIATION:.1f}"]
    return []


def _noise(pixels: Grey) -> list[str]:
    rough = roughness(pixels)
    if rough <= MAX_ROUGHNESS:
        return []
    return [
        f"the picture is noise: its calmest quarter varies by {rough:.2f} of the whole, the limit is {MAX_ROUGHNESS}"
    ]


def _clipped(image: Image.Image) -> list[str]:
    share = clipped_share(image)
    if share <= MAX_CLIPPED_SHARE:
        return []
    return [f"the picture is out of range: {share:.2f} of it is clipped, the limit is {MAX_CLIPPED_SHARE:.2f}"]


def _inner(pixels: Grey) -> Grey:
    return pixels[_REACH:-_REACH, _REACH:-_REACH]


def _shifted(pixels: Grey, down: int, right: int) -> Grey:
    height, width = pixels.shape[0] - 2 * _REACH, pixels.shape[1] - 2 * _REACH
    return pixels[_REACH + down : _REACH + down + height, _REACH + right : _REACH + right + width]


def _best_shift(first: Grey, second: Grey) -> Grey:
    """Return the part of `second` that best fits the inner part of `first`, by every third pixel."""
    core = _inner(first).mean(axis=2)[::3, ::3]
    grey = second.mean(axis=2)
    reach = range(-_REACH, _REACH + 1)
    _, down, right = min(
        (float(np.abs(core - _shifted(grey, down, right)[::3, ::3]).mean()), down, right)
        for down in reach
        for right in reach
    )
    return _shifted(second, down, right)
