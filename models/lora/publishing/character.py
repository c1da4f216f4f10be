"""A character that is to be published, and what its files and its place are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import InputError
from models.lora.records import Checkpoint
from models.storage.adapters import SINGLE_FILE

CARD = "README.md"
PICTURES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True, kw_only=True)
class Character:
    """What is to be published."""

    name: str
    """What it is called; its folder and its kohya file are called after it."""
    checkpoint: Checkpoint
    card: str
    """Text of its README.md; see `models.lora.publishing.card`."""
    samples: Path
    """Picture of what it paints."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """For the header of the kohya file; see `models.lora.publishing.card`."""


def location_of(publish_to: str, name: str) -> str:
    """Where a character of this name is published: an S3 address, or a path as `publish_to` is one."""
    return f"{publish_to.rstrip('/')}/{name}" if publish_to.startswith("s3:") else str(Path(publish_to) / name)


def kohya_name(name: str) -> str:
    """The character's file for programs that read sd-scripts' keys.

    Raises:
        InputError: the name can't be a file's, or the file would be called as the one for diffusers.
    """
    file = f"{name}.safetensors"
    if name.startswith(".") or re.search(r'[/\\:*?"<>|\s\x00-\x1f]', name):
        raise InputError(f"name: {name!r} can't be a folder's name everywhere; use letters, digits, '_', '-' and '.'")
    if file.lower() == SINGLE_FILE:
        raise InputError(f"name: {name!r} is what diffusers calls its own file, {SINGLE_FILE}; choose another name")
    return file


def samples_name(samples: Path) -> str:
    """What the picture of samples is published as.

    Raises:
        InputError: it is no picture by its name.
    """
    if samples.suffix.lower() not in PICTURES:
        raise InputError(f"samples: {samples} is no picture; expected {', '.join(PICTURES)}")
    return f"samples{samples.suffix.lower()}"
