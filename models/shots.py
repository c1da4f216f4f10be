"""Framing: sizes, angles and movements of shots as closed vocabularies, and the words that say the same."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

ShotSize = Literal["ECU", "CU", "MCU", "MS", "MLS", "WS", "EWS"]
"""Extreme close-up, close-up, medium close-up, medium, medium long, wide, extreme wide shot."""
Angle = Literal["eye level", "low", "high", "bird's eye", "over the shoulder"]
Movement = Literal["static", "pan", "tilt", "dolly", "zoom"]
Distance = Literal["near", "middle", "far"]
"""What a small base tells apart."""

SIZE_WORDS: dict[ShotSize, str] = {
    "ECU": "extreme close-up",
    "CU": "close-up",
    "MCU": "medium close-up",
    "MS": "medium shot",
    "MLS": "medium long shot",
    "WS": "wide shot",
    "EWS": "extreme wide shot",
}
ANGLE_WORDS: dict[Angle, str] = {
    "eye level": "",
    "low": "low angle",
    "high": "high angle",
    "bird's eye": "bird's-eye view",
    "over the shoulder": "over-the-shoulder shot",
}
DISTANCES: dict[ShotSize, Distance] = {
    "ECU": "near",
    "CU": "near",
    "MCU": "near",
    "MS": "middle",
    "MLS": "middle",
    "WS": "far",
    "EWS": "far",
}
_SIZES: tuple[tuple[str, ShotSize], ...] = (
    (r"extreme close|\becu\b", "ECU"),
    (r"medium close|\bmcu\b", "MCU"),
    (r"close|\bcu\b|\bnear\b", "CU"),
    (r"medium long|medium wide|\bmls\b", "MLS"),
    (r"extreme (?:wide|long)|\bews\b", "EWS"),
    (r"wide|\blong\b|\bfar\b|establishing|panoram|\bws\b", "WS"),
    (r"medium|middle|\bmid\b|\bms\b", "MS"),
)
"""In the order in which they are tried."""
_ANGLES: tuple[tuple[str, Angle], ...] = (
    (r"low[- ]angle|from below", "low"),
    (r"bird|overhead|aerial", "bird's eye"),
    (r"high[- ]angle|from above", "high"),
    (r"over[- ]the[- ]shoulder", "over the shoulder"),
)


class Framing(NamedTuple):
    """A shot's size and angle."""

    size: ShotSize | None
    """None if nothing is said of it."""
    angle: Angle

    def as_panel(self) -> dict[str, str]:
        """Return the fields of a panel that these words give; a size that they do not say is left out."""
        return {**({"shot_size": self.size} if self.size else {}), "angle": self.angle}


def read_framing(words: str) -> Framing:
    """Return what the words of a shot say: "near shot", "low angle close-up"."""
    plain = words.casefold()
    size = next((size for pattern, size in _SIZES if re.search(pattern, plain)), None)
    return Framing(size, next((angle for pattern, angle in _ANGLES if re.search(pattern, plain)), "eye level"))


def framing_words(size: ShotSize, angle: Angle) -> str:
    """Return a size and an angle in words for a base that knows them: "close-up, low angle"."""
    return ", ".join(filter(None, (SIZE_WORDS[size], ANGLE_WORDS[angle])))
