"""What a painter is asked for: plain records that need no torch to make, compare or print."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from pydantic import Field

from models.bases.schedules import Sampler
from models.profiles import Precision, Profile, Speed
from models.records import Adapter, Record

BatchKey = tuple[object, ...]


class Sampling(NamedTuple):
    """How noise becomes a picture."""

    sampler: Sampler
    steps: int
    """Evaluations of the model."""


def sampling(speed: Speed, steps: int) -> Sampling:
    """Sampler and steps that come to a picture of `steps` steps of Euler's.

    A solver of the second order needs fewer (Lu et al. 2022, https://arxiv.org/abs/2211.01095). Two fifths paint as
    many attributes on the offline profile: docs/performance.md.
    """
    return Sampling("DPM++ 2M", math.ceil(2 * steps / 5)) if speed == "fast" else Sampling("Euler", steps)


class PainterSetup(Record):
    """Which models paint, and where. Hashable: equal setups share what is loaded."""

    profile: Profile
    """The profile itself, with what the options changed of it: nobody looks it up again."""
    adapter: Adapter | None
    """The character LoRA, or None for the bare base."""
    more_adapters: tuple[Adapter, ...] = ()
    """LoRAs besides the character's."""
    device: str
    """cpu, cuda, cuda:N or mps."""
    precision: Precision
    with_controlnet: bool
    """Whether requests may carry a control picture."""
    batch_size: int = Field(ge=1)
    """How many waiting frames are painted at once, at most."""
    speed: Speed = "exact"
    """plain: the libraries' own code. Otherwise all that changes nothing but rounding: fused kernels, CUDA graphs."""
    low_memory: bool = False
    """Keep the text encoders and CLIP in main memory. The encoders go to the device layer by layer when they are
    asked; CLIP scores on the CPU."""

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """All LoRAs, the character's first."""
        return (*([] if self.adapter is None else [self.adapter]), *self.more_adapters)

    @property
    def scoring_device(self) -> str:
        """Where CLIP is."""
        return "cpu" if self.low_memory else self.device


class ControlPicture(Record):
    """A picture whose lines guide a frame."""

    file: str
    scale: float = Field(ge=0.0, le=2.0)
    """Strength of the lines; 0 is off."""
    end: float = Field(ge=0.0, le=1.0)
    """Share of the steps in which they act; 0 is off."""
    kind: Literal["reference", "sketch"]
    """reference: Canny edges of a painted picture. sketch: a drawing whose own lines are taken."""

    @property
    def acts(self) -> bool:
        """Whether it has any effect at all."""
        return self.scale > 0.0 and self.end > 0.0


class PaintRequest(Record):
    """One frame to paint."""

    prompt: str = Field(min_length=1)
    negative_prompt: str
    """What to keep away from; empty means the base's own unconditional embedding."""
    seed: int = Field(ge=0)
    size: int = Field(ge=8, multiple_of=8)
    """Side of the square picture in pixels."""
    steps: int = Field(ge=1)
    sampler: Sampler = "Euler"
    guidance: float = Field(ge=0.0)
    """Guidance scale; 1 and below paint without a negative prompt, in half the time."""
    control: ControlPicture | None

    @property
    def batch_key(self) -> BatchKey:
        """Equal for requests that one batch may hold: all that a pipeline takes once for a whole batch."""
        control = self.control if self.control is not None and self.control.acts else None
        lines = (control.scale, control.end) if control is not None else None
        return (self.size, self.steps, self.sampler, self.guidance, lines, self.negative_prompt == "")
