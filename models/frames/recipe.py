"""A picture's recipe, carried in the PNG itself.

Two text chunks: `parameters` in the form that AUTOMATIC1111's readers parse (most picture browsers and sharing sites
do), and `aldar_storyboard`, the whole recipe as JSON, which is what this project reads back.
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
from models.records import Record

DISTRIBUTION = "aldar-kose-storyboard"
_READABLE = "parameters"
_COMPLETE = "aldar_storyboard"
_SHORT_HASH = 10  # hex digits of a hash in A1111's text


def software_version() -> str:
    """This project's version, or "unknown" where it runs without being installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


class Control(Record):
    """What the ControlNet saw, and how strongly."""

    kind: Literal["reference", "sketch"]
    """Canny edges of frame 1, or of a sketch that a person gave."""
    scale: float
    end: float
    """Share of the steps in which it acted."""


class PaintedLora(Record):
    """A LoRA that was on the base."""

    name: str
    """The last part of what a person named, without the folders before it."""
    fingerprint: str
    strength: float


class Recipe(Record):
    """Everything that is needed to paint a picture again."""

    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    size: int
    """Side of the square picture in pixels."""
    sampler: str
    profile: str
    base: str
    """Fingerprint of the base weights."""
    adapter: str | None
    """Fingerprint of the LoRAs and their strengths."""
    loras: tuple[PaintedLora, ...] = ()
    control: Control | None
    frame: int
    story: str | None = None
    version: str = Field(default_factory=software_version)
    """Version of this project."""


def png_bytes(image: Image.Image, recipe: Recipe) -> bytes:
    """The picture as a PNG that carries its recipe. The same pixels and recipe give the same bytes.

    Args:
        image: the painted picture; converted to RGB. Nothing else that it carries (profile, date) is written.
        recipe: how it was painted.
    """
    rgb = image.convert("RGB")
    bare = Image.frombytes("RGB", rgb.size, rgb.tobytes())  # Pillow would write what image.info holds
    chunks = PngInfo()
    for name, text in ((_READABLE, parameters(recipe)), (_COMPLETE, recipe.model_dump_json())):
        chunks.add_text(name, text)  # tEXt where Latin-1 holds it, else iTXt in UTF-8
    buffer = io.BytesIO()
    bare.save(buffer, "PNG", pnginfo=chunks, compress_level=6)
    return buffer.getvalue()


def parameters(recipe: Recipe) -> str:
    """The recipe in A1111's form: prompt, negative prompt, and one line of `Name: value` pairs."""
    pairs: dict[str, object] = {
        "Steps": recipe.steps,
        "Sampler": recipe.sampler,
        "CFG scale": recipe.guidance,
        "Seed": recipe.seed,
        "Size": f"{recipe.size}x{recipe.size}",
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
    """A value as A1111 writes it: in JSON's quotes where it holds a separator."""
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:\n"') else value


def read_recipe(path: str | Path) -> Recipe:
    """The recipe that a PNG of this project carries.

    Raises:
        ObjectNotFound: there is no such file.
        InputError: it is not a picture, or carries no recipe that this version understands.
    """
    try:
        with Image.open(path) as image:
            text = image.info.get(_COMPLETE)
    except FileNotFoundError:
        raise ObjectNotFound(f"no picture at {path}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a readable picture: {error}") from None
    if not isinstance(text, str):
        raise InputError(f"{path} carries no recipe: it was not painted here, or was saved anew by another program")
    try:
        return Recipe.model_validate_json(text)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise InputError(f"{path} carries a recipe that this version cannot read ({fields})") from None
