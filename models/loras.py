"""Which LoRAs a storyboard is painted with, and how strongly each acts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.profiles import ROOT
from models.records import Adapter

NO_LORA = "none"
STRONGEST = 4.0
"""A LoRA acts from minus this to this; 1 is as it was trained, and far beyond it pictures fall apart."""


class WantedLora(NamedTuple):
    """A LoRA that a person asked for."""

    source: str
    """s3://bucket/prefix, a folder, or a .safetensors file."""
    strength: float
    option: str
    """The option that names it, for messages."""


def wanted_loras(character: str | None, strength: float, more: Sequence[str]) -> list[WantedLora]:
    """The LoRAs that a person asked for, the character's first.

    Args:
        character: source of the character's LoRA; None or "none" where there is none.
        strength: how strongly that one acts.
        more: further ones, as `split_strength` reads them.
    """
    further = [WantedLora(*split_strength(text), "--more-loras") for text in more]
    if character in (None, NO_LORA):
        return further
    return [WantedLora(character, strength, "--lora-path"), *further]


def split_strength(text: str) -> tuple[str, float]:
    """`style.safetensors=0.6` as source and strength; a strength that is not given is 1.

    Raises:
        ValueError: the strength is beyond what a LoRA can have.
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
    """What tells these LoRAs at these strengths from any others; None where there are none.

    One alone, as it was trained, is told by its own fingerprint.
    """
    if len(adapters) == 1 and adapters[0].strength == 1.0:
        return adapters[0].fingerprint
    told = "\n".join(f"{adapter.fingerprint} {adapter.strength!r}" for adapter in adapters)
    return hashlib.sha256(told.encode()).hexdigest() if adapters else None


def shown_source(source: str) -> str:
    """A source as a report names it: what ships with the project without the place where that lies."""
    path = Path(source)
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else source
