"""Line pictures for the ControlNet: white on black, as in the training of SDXL's Canny ControlNet.

That training used OpenCV's Canny with thresholds 100 and 200 on 8-bit grey
(https://huggingface.co/diffusers/controlnet-canny-sdxl-1.0).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from models.diffusion.requests import ControlPicture
from models.errors import InputError
from models.sizes import Size

CANNY_THRESHOLDS = (100, 200)
MAX_INK = 0.2
"""Largest share of ink in a line drawing; a picture with more counts as a photo. Pen drawings have 2-10 %."""
MIN_CONTRAST = 32
"""Least span of grey levels (of 255) in a drawing; a picture with less is blank."""

Grey = NDArray[np.uint8]


def control_image(picture: ControlPicture, size: Size) -> Image.Image:
    """Return a control picture's lines, as RGB of this size, white on black.

    Raises:
        InputError: the file is missing or not a picture, or a sketch is blank.
    """
    image = open_picture(Path(picture.file))
    if picture.kind == "reference":
        return canny_edges(image, size)
    try:
        return sketch_lines(image, size)
    except InputError as error:
        raise InputError(f"{picture.file}: {error}") from None


def open_picture(file: Path) -> Image.Image:
    """Return a picture of any mode as RGB, rotated by its EXIF data, with transparent parts on white.

    Raises:
        InputError: missing, unreadable, or not a picture.
    """
    try:
        with Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith(("I", "F")):
                return _from_deep_grey(upright)
            layered = upright.convert("RGBA")
    except FileNotFoundError:
        raise InputError(f"{file}: no such picture") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{file}: not a picture that can be read ({error})") from error
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def canny_edges(image: Image.Image, size: Size) -> Image.Image:
    """Return a picture's Canny edges, as RGB of this size. A picture of another shape gets black margins.

    The margins are added after edge detection, so that their border is not found as an edge.
    """
    fitted = ImageOps.contain(image.convert("RGB"), size, Image.Resampling.LANCZOS)
    return _on_black(_canny(np.asarray(fitted.convert("L"))), size)


def sketch_lines(image: Image.Image, size: Size) -> Image.Image:
    """Return a drawing's lines, as RGB of this size, white on black; dark and light lines both work.

    A drawing of another shape gets black margins; it is neither cropped nor stretched.

    Otsu's threshold (1979) separates ink from paper; the larger share is paper. With more than `MAX_INK` of ink the
    picture is not a line drawing, and its Canny edges are returned.

    Raises:
        InputError: it is blank.
    """
    import cv2

    fitted = ImageOps.contain(image.convert("RGB"), size, Image.Resampling.BOX)
    grey = np.asarray(ImageOps.autocontrast(fitted.convert("L")) if _has_contrast(fitted) else fitted.convert("L"))
    if not _has_contrast(fitted):
        raise InputError("the sketch is blank: it needs lines that differ from their paper")
    _, light = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    lines = _as_grey(light if np.mean(light) < 127.5 else 255 - light)
    if np.mean(lines > 0) > MAX_INK:
        lines = _canny(np.asarray(fitted.convert("L")))
    return _on_black(lines, size)


def _has_contrast(image: Image.Image) -> bool:
    low, high = image.convert("L").getextrema()
    return bool(float(high) - float(low) >= MIN_CONTRAST)  # type: ignore[arg-type]


def _canny(grey: Grey) -> Grey:
    import cv2

    return _as_grey(cv2.Canny(grey, *CANNY_THRESHOLDS))


def _as_grey(values: Any) -> Grey:
    return np.asarray(values, dtype=np.uint8)


def _on_black(lines: Grey, size: Size) -> Image.Image:
    canvas = Image.new("RGB", size)
    picture = Image.fromarray(lines).convert("RGB")
    canvas.paste(picture, ((size.width - picture.width) // 2, (size.height - picture.height) // 2))
    return canvas


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Return 16-bit, 32-bit or floating grey scaled to 0..255; Pillow's own conversion would clip it at 255."""
    values = np.asarray(image, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    spread = (values - low) / max(high - low, 1e-9) * 255
    return Image.fromarray(spread.astype(np.uint8)).convert("RGB")
