"""Training pictures as a person sees them, and how a picture gets the shape that it is trained in."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from models.errors import InputError
from models.lora.records import Crop
from models.sizes import Size

HEIC = (".heic", ".heif", ".hif")
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".jfif", ".jpe", ".jif"),
    *(".apng", ".jp2", ".j2k", ".jpx", ".dib"),
    *HEIC,
)
"""Endings of files that count as pictures, in any case of letters."""
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "GIF", "JPEG2000")
"""What such a file may hold, whatever its ending says; HEIF too where pillow-heif is installed."""
NO_HEIC = "HEIC needs the package pillow-heif: pip install pillow-heif; or save it as PNG or JPEG"

# Pillow reads at most 1 MB of a text or of a colour profile by default. Programs that paint write their whole graph
# into a picture, and cameras' profiles are as large; these limits still refuse a decompression bomb.
PngImagePlugin.MAX_TEXT_CHUNK = 2**26
PngImagePlugin.MAX_TEXT_MEMORY = 2**28

_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_DAMAGED = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
    *_TOO_LARGE,
)
"""What Pillow raises over a file's bytes; the last is a warning that some people turn into an error."""
_WHITE = (255, 255, 255)
_PROFILED = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Pillow's modes that LittleCMS can convert -> the colour space that a profile of such a picture must have."""


def open_picture(file: Path) -> Image.Image:
    """The picture in RGB of 8 bits, without any metadata.

    The camera's rotation is undone; transparency lies on white; colours with an embedded profile become sRGB; 16-bit
    greys are scaled to 8 bits; of an animation it is the first frame. All pixels have been decoded.

    Raises:
        InputError: it is missing, empty, truncated, too large or no picture; one line with the file.
    """
    try:
        with Image.open(file, formats=_formats()) as opened:
            _check_pixels(opened)
            seen = _as_seen(ImageOps.exif_transpose(opened))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except _DAMAGED as error:
        raise InputError(f"{file}: {_reason(file, error)}") from error
    seen.info.clear()  # Pillow would write an old profile or transparency into files made of it
    return seen


@functools.cache
def _formats() -> tuple[str, ...]:
    """What can be read here."""
    try:
        import pillow_heif
    except ImportError:
        return FORMATS
    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def _is_heic(file: Path) -> bool:
    """Whether it begins as a HEIF file of HEVC pictures does, or is called so: box ftyp and its brands."""
    with file.open("rb") as stream:
        head = stream.read(64)
    brands = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc")
    return file.suffix.lower() in HEIC or (head[4:8] == b"ftyp" and any(brand in head for brand in brands))


def _check_pixels(opened: Image.Image) -> None:
    most = Image.MAX_IMAGE_PIXELS or 2**27
    if opened.width * opened.height > most:
        raise InputError(f"{opened.width}x{opened.height} pixels are more than {most}; save it smaller")


def _reason(file: Path, error: Exception) -> str:
    """What was wrong, and the way out."""
    if isinstance(error, FileNotFoundError):
        return "no such picture"
    if isinstance(error, PermissionError):
        return "permission denied; check the file's owner and mode"
    detail = " ".join(str(error).split()) or type(error).__name__
    reasons = {
        f"it has more than {Image.MAX_IMAGE_PIXELS} pixels; save it smaller": isinstance(error, _TOO_LARGE),
        "its text or colour profile unpacks to more than 64 MB; save it without metadata": "MAX_TEXT" in detail,
        "the file is empty; copy it again, or remove it": file.is_file() and file.stat().st_size == 0,
        NO_HEIC: file.is_file() and _formats() == FORMATS and _is_heic(file),
        "not a picture of a kind that is read; save it as PNG or JPEG": isinstance(error, UnidentifiedImageError),
    }
    broken = f"a picture that can't be read ({detail}); copy it again, or save it as PNG or JPEG"
    return next((reason for reason, holds in reasons.items() if holds), broken)


def _as_seen(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        stored = np.asarray(image)
        levels = np.rint(stored.astype(np.float32) / 257).astype(np.uint8)  # 65535 / 255
        if isinstance(clear := image.info.get("transparency"), int):
            levels[stored == clear] = 255  # that grey is declared transparent, and white paper shows
        return Image.fromarray(levels).convert("RGB")
    if image.mode in ("I", "F"):
        raise InputError("its greys have 32 bits and no fixed white; save it with 8 or 16 bits")
    profile = image.info.get("icc_profile")
    if not image.has_transparency_data:
        return _in_srgb(image if image.mode in _PROFILED else image.convert("RGB"), profile)
    layered = image.convert("RGBA")
    paper = Image.new("RGB", image.size, _WHITE)
    paper.paste(_in_srgb(layered.convert("RGB"), profile), mask=layered.getchannel("A"))
    return paper


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The colours that the profile says they are; a profile that is broken or another mode's is none.

    Broken is also one with much behind the length that its first four bytes tell (ICC.1, 7.2.2).

    Args:
        image: of a mode in `_PROFILED`.
        profile: an ICC profile.
    """
    if profile and len(profile) - int.from_bytes(profile[:4], "big") < 4:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space.strip() == _PROFILED[image.mode]:
                converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
                assert converted is not None, "None is what a conversion in place returns"
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass
    return image.convert("RGB")


def crop_of(width: int, height: int, size: Size) -> Crop:
    """How a picture of width x height gets this size: scaled until it just covers it, cut from the middle.

    All in pixels. If an odd number of pixels is cut, the right or the lower edge loses one more.
    """
    by, of = (size[0], width) if size[0] * height >= size[1] * width else (size[1], height)
    scaled_width, scaled_height = max(size[0], round(width * by / of)), max(size[1], round(height * by / of))
    return Crop(
        scaled_width=scaled_width,
        scaled_height=scaled_height,
        left=(scaled_width - size[0]) // 2,
        top=(scaled_height - size[1]) // 2,
        width=size[0],
        height=size[1],
    )


def prepare(picture: Image.Image, size: Size, *, mirrored: bool = False) -> Image.Image:
    """The picture in the size that `crop_of` describes, scaled by Lanczos with antialiasing.

    A picture that just covers the size already keeps its pixels as they are.

    Args:
        picture: RGB, as `open_picture` returns it.
        size: width and height in pixels.
        mirrored: left and right swapped, after the cut.
    """
    crop = crop_of(picture.width, picture.height, size)
    scaled = (crop.scaled_width, crop.scaled_height)
    if scaled != picture.size:
        picture = picture.resize(scaled, Image.Resampling.LANCZOS)
    cut = picture.crop((crop.left, crop.top, crop.left + crop.width, crop.top + crop.height))
    return ImageOps.mirror(cut) if mirrored else cut
