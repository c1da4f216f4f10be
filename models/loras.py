"""The LoRAs of a storyboard and their strengths."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.profiles import ROOT
from models.records import Adapter
from models.sources import Component

NO_LORA = "none"
STRONGEST = 4.0
"""Largest absolute strength. 1 is as trained; far larger values ruin the pictures."""


class WantedLora(NamedTuple):
    """A requested LoRA."""

    source: str
    """s3://bucket/prefix, a folder, or a .safetensors file."""
    strength: float
    option: str
    """The option that named it, for messages."""
    turbo: Component | None = None
    """Of a distillation LoRA, which may also be in a hub repository."""


def wanted_loras(character: str | None, strength: float, more: Sequence[str]) -> list[WantedLora]:
    """Return the requested LoRAs, the character's first.

    Args:
        character: source of the character's LoRA; None or "none" for no LoRA.
        strength: the character LoRA's strength.
        more: further LoRAs, in the form that `split_strength` parses.
    """
    further = [WantedLora(*split_strength(text), "--more-loras") for text in more]
    if character in (None, NO_LORA):
        return further
    return [WantedLora(character, strength, "--lora-path"), *further]


def split_strength(text: str) -> tuple[str, float]:
    """Split `style.safetensors=0.6` into source and strength (1 by default).

    Raises:
        ValueError: the strength is not finite or above STRONGEST.
    """
    source, _, number = text.rpartition("=")
    try:
        strength = float(number)
    except ValueError:
        return text, 1.0
    if not source:
        return text, 1.0
    if not math.isfinite(strength) or abs(strength) > STRONGEST:
        raise ValueError(f"strength must be from {-STRONGEST:g} to {STRONGEST:g}, as in style.safetensors=0.6")
    return source, strength


def fingerprint_of(adapters: Sequence[Adapter]) -> str | None:
    """Return the sha256 of the LoRAs' fingerprints and strengths; None without LoRAs.

    A single LoRA at strength 1 keeps its own fingerprint.
    """
    if len(adapters) == 1 and adapters[0].strength == 1.0:
        return adapters[0].fingerprint
    listing = "\n".join(f"{adapter.fingerprint} {adapter.strength!r}" for adapter in adapters)
    return hashlib.sha256(listing.encode()).hexdigest() if adapters else None


def shown_source(source: str) -> str:
    """Return a source as reports show it: files of this project relative to its root."""
    path = Path(source)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else source
