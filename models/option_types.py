"""Types of a storyboard's options that a record, an environment variable and a command line write differently."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from models.loras import split_strength
from models.profiles import PROFILES, valid_profiles
from models.records import MAX_FRAMES
from models.sizes import GRAIN, LARGEST, SMALLEST


def _has_strength(text: str) -> str:
    split_strength(text)
    return text


def _texts(value: object) -> object:
    """Parse a list from the environment: JSON, or a single text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.startswith("[") else [value]
    except ValueError:
        raise ValueError('write a list as ["style.safetensors=0.6"]') from None


def _profile_exists(name: str) -> str:
    if name not in PROFILES:
        raise ValueError(valid_profiles())
    return name


def _sketches(value: object) -> object:
    """Parse sketches: JSON from the environment, N=FILE pairs from a command line or a form."""
    if isinstance(value, list | tuple):
        return _pairs(value)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('write sketches as {"2": "camel.png"}') from None


def _pairs(pairs: Sequence[object]) -> dict[str, str]:
    """Parse N=FILE pairs into frame number -> file."""
    sketches: dict[str, str] = {}
    for pair in pairs:
        number, equals, file = str(pair).partition("=")
        if not equals:
            raise ValueError("write N=FILE, such as 2=camel.png")
        if number in sketches:
            raise ValueError(f"frame {number} has two, {sketches[number]!r} and {file!r}")
        sketches[number] = file
    return sketches


def _export_forms(value: object) -> object:
    """Parse names of forms given with commas, as "pdf,html" or as a list (or its JSON) of such texts; each once."""
    texts = _texts(value)
    if not isinstance(texts, list | tuple):
        return value
    parts = [part.strip() for text in texts for part in str(text).split(",")]
    valid = get_args(ExportForm)
    for part in parts:
        if part and part not in valid:
            raise ValueError(f"there is no form {part!r}; valid forms: {', '.join(valid)}")
    return tuple(dict.fromkeys(part for part in parts if part))


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


_ASPECTS = list(dict.fromkeys(aspect for profile in PROFILES.values() for aspect in profile.sizes))
ProfileName = Annotated[str, AfterValidator(_profile_exists), Field(json_schema_extra={"enum": list(PROFILES)})]
AspectName = Annotated[str, Field(min_length=1, max_length=20, json_schema_extra={"enum": _ASPECTS})]
"""An aspect of some profile; whether the run's own profile has it is found by `Profile.size_of`."""
Pixels = Annotated[int, Field(ge=SMALLEST, le=LARGEST, multiple_of=GRAIN)]
"""Width or height of a picture."""
SourceName = Annotated[str, Field(min_length=1, max_length=1024)]
FrameNumber = Annotated[int, Field(ge=1, le=MAX_FRAMES)]
LoraText = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_has_strength)]
LoraTexts = Annotated[tuple[LoraText, ...], NoDecode, BeforeValidator(_texts)]
Sketches = Annotated[dict[FrameNumber, SourceName], NoDecode, BeforeValidator(_sketches)]
FilmRate = Annotated[Literal[24, 25, 30], BeforeValidator(_number)]
"""Frames a second."""
ExportForm = Literal[
    "pdf", "html", "xlsx", "csv", "srt", "vtt", "mp4", "webm", "otio", "fcpxml", "edl", "vistorybench", "zip"
]
"""Names of the forms in `models.export.forms`."""
ExportForms = Annotated[tuple[ExportForm, ...], NoDecode, BeforeValidator(_export_forms)]
