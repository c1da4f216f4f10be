"""What is measured of a painted frame, and the bounds between which a hero is the same man."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

Box = tuple[int, int, int, int]
"""Left, upper, right and lower edge in pixels; right and lower are outside."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Hero(_Frozen):
    """Where the hero is in a picture."""

    found: bool
    box: Box | None = None
    """None if he was not found; then the whole picture is judged."""
    why: str = ""
    """Why he was not found, a few words."""


class Likeness(_Frozen):
    """How alike the hero and frame 1's are. Cosines of the profile's encoder, DINOv2 or CLIP."""

    crop: float | None
    """His crop and frame 1's; None for frame 1 itself, and where he was not found in frame 1."""
    around: float | None
    """Both pictures without him."""
    own: float | None = None
    """His crop and his calibrated pictures: about 1 for him, about 0 for others. None without a calibration."""
    clip: float | None = None
    """CLIP cosine of both crops."""
    dino: float | None = None
    """DINOv2 cosine of both crops; None for a profile without one."""
    measured_by: str
    """Encoder and calibration; another one measures again."""


class Scores(_Frozen):
    """Measurements of one painted frame."""

    consistency: float | None
    """CLIP cosine of this frame and frame 1; None for frame 1 itself, which is the reference."""
    prompt: float
    """CLIP cosine of this frame and its own prompt."""
    anomalies: tuple[str, ...] = ()
    """Defects of the picture itself, one sentence each."""
    hero: Hero | None = None
    """None in frames of earlier versions, where nobody looked for him."""
    likeness: Likeness | None = None
    """None where he was not found, or nothing is there to compare him with."""


class Bounds(_Frozen):
    """Between which likeness a hero is the same man, and no copy of frame 1."""

    least: float = Field(ge=-10.0, le=10.0)
    """Least likeness: of `Likeness.own` if calibrated, else of `Likeness.crop`."""
    most: float = Field(ge=-1.0, le=2.0)
    """A frame is a copy if both its crop and its surroundings are at least this much like frame 1's: crop."""
    most_around: float = Field(ge=-1.0, le=2.0)
    """The same of the surroundings."""
    calibrated: bool = False
    """Whether `least` was measured on the hero's own pictures: `python -m flows.calibrate`."""

    given: bool = False
    """Whether `least` was given as an option."""

    def score(self, likeness: Likeness | None) -> float | None:
        """Return the value that `least` bounds; None if it was not measured."""
        return None if likeness is None else likeness.own if self.calibrated else likeness.crop
