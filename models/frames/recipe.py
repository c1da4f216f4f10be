"""A picture's recipe, stored in the PNG itself.

There are three text chunks: `parameters` in AUTOMATIC1111's format, which most picture browsers and sharing sites read,
`aldar_storyboard`, the complete recipe as JSON, which this project reads back, and an XMP packet, which says that a
machine made the picture. Pictures of earlier versions have no packet, and nothing here asks for one.
"""

from __future__ import annotations

import io
import json
from importlib import metadata
from pathlib import Path
from typing import Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import Field, ValidationError

from models.errors import InputError, ObjectNotFound
from models.origin.mark import XMP_KEYWORD, xmp_packet
from models.records import LoraRole, Record
from models.sizes import PictureSize

DISTRIBUTION = "aldar-kose-storyboard"
_READABLE = "parameters"
_COMPLETE = "aldar_storyboard"
_SHORT_HASH = 10  # hex digits of a hash in A1111's text


def software_version() -> str:
    """Return this project's version, or "unknown" if it is not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


class Control(Record):
    """The ControlNet's input and strength."""

    kind: Literal["reference", "sketch"]
    """Canny edges of frame 1, or of a given sketch."""
    scale: float
    end: float
    """Share of the steps in which the ControlNet acted."""


class PaintedLora(Record):
    """A LoRA with which the picture was painted."""

    name: str
    """The last part of its source, without folders and suffix."""
    fingerprint: str
    strength: float
    role: LoraRole = "character or style"


class Recipe(Record):
    """All inputs that are needed to paint the picture again."""

    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    size: PictureSize
    sampler: str
    profile: str
    base: str
    """Fingerprint of the base weights."""
    adapter: str | None
    """Fingerprint of the LoRAs and their strengths."""
    loras: tuple[PaintedLora, ...] = ()
    control: Control | None
    frame: int
    original_scale: float = 1.0
    """See `models.profiles.Profile`."""
    story: str | None = None
    version: str = Field(default_factory=software_version)
    """Version of this project."""


def png_bytes(image: Image.Image, recipe: Recipe) -> bytes:
    """Return the picture as a PNG with its recipe and mark. The same pixels and recipe give the same bytes.

    Args:
        image: the painted picture; converted to RGB, and written without its other metadata (profile, date).
        recipe: how it was painted.
    """
    rgb = image.convert("RGB")
    bare = Image.frombytes("RGB", rgb.size, rgb.tobytes())  # a copy without image.info, which Pillow would write too
    chunks = PngInfo()
    for name, text in ((_READABLE, parameters(recipe)), (_COMPLETE, recipe.model_dump_json())):
        chunks.add_text(name, text)  # as tEXt if Latin-1 suffices, else as iTXt in UTF-8
    chunks.add_itxt(XMP_KEYWORD, xmp_packet())
    buffer = io.BytesIO()
    bare.save(buffer, "PNG", pnginfo=chunks, compress_level=4)  # half the time of level 6 or less, 3 % more bytes
    return buffer.getvalue()


def parameters(recipe: Recipe) -> str:
    """Return the recipe in A1111's format: prompt, negative prompt, and one line of `Name: value` pairs."""
    pairs: dict[str, object] = {
        "Steps": recipe.steps,
        "Sampler": recipe.sampler,
        "CFG scale": recipe.guidance,
        "Seed": recipe.seed,
        "Size": str(recipe.size),
        "Model hash": recipe.base[:_SHORT_HASH],
        "Model": recipe.profile,
    }
    if recipe.control is not None:
        pairs["ControlNet 0"] = (
            f"Module: canny, Image: {recipe.control.kind}, Weight: {recipe.control.scale}, "
            f"Guidance Start: 0.0, Guidance End: {recipe.control.end}"
        )
    if recipe.loras:
        pairs["Lora hashes"] = ", ".join(f"{lora.name}: {lora.fingerprint[:_SHORT_HASH]}" for lora in recipe.loras)
        pairs["Lora strengths"] = ", ".join(f"{lora.name}: {lora.strength:g}" for lora in recipe.loras)
    pairs |= {"Frame": recipe.frame, "Version": f"{DISTRIBUTION} {recipe.version}"}
    lines = [recipe.prompt]
    if recipe.negative_prompt:
        lines.append(f"Negative prompt: {recipe.negative_prompt}")
    lines.append(", ".join(f"{name}: {_quoted(str(value))}" for name, value in pairs.items()))
    return "\n".join(lines)


def _quoted(value: str) -> str:
    """Return a value in A1111's format: in JSON quotes if it contains a separator."""
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:\n"') else value


def read_recipe(path: str | Path) -> Recipe:
    """Return the recipe in a PNG of this project.

    Raises:
        ObjectNotFound: the file does not exist.
        InputError: it is not a picture, or has no recipe that this version can read.
    """
    try:
        with Image.open(path) as image:
            text = image.info.get(_COMPLETE)
    except FileNotFoundError:
        raise ObjectNotFound(f"no picture at {path}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a readable picture: {error}") from None
    if not isinstance(text, str):
        raise InputError(f"{path} has no recipe: it was not painted here, or another program saved it again")
    try:
        return Recipe.model_validate_json(text)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise InputError(f"{path} has a recipe that this version cannot read ({fields})") from None
