"""Records of setups and paint requests. They need no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from models.bases.schedules import Sampler
from models.profiles import Precision, Profile, Speed
from models.records import Adapter, Record
from models.sizes import PictureSize
from models.turbo import Turbo, TurboMethod

BatchKey = tuple[object, ...]


class Sampling(NamedTuple):
    """A sampler and its number of steps."""

    sampler: Sampler
    steps: int
    """Evaluations of the model."""


_TURBO: dict[TurboMethod, Sampler] = {
    "lightning": "Euler trailing",
    "hyper": "DDIM trailing",
    "dmd2": "DMD2",
    "lcm": "LCM",
    "tcd": "TCD",
}


def sampling(speed: Speed, steps: int, turbo: Turbo | None = None) -> Sampling:
    """Return the sampler and steps that match the quality of `steps` Euler steps at this speed.

    A second-order solver needs fewer steps (Lu et al. 2022, https://arxiv.org/abs/2211.01095). With two fifths of them,
    as many attributes are painted on the offline profile: docs/performance.md.

    Args:
        speed: of the painting.
        steps: Euler steps.
        turbo: the LoRA of speed turbo, whose method says the sampler.
    """
    if turbo is not None:
        return Sampling(_TURBO[turbo.method], turbo.steps)
    return Sampling("DPM++ 2M", math.ceil(2 * steps / 5)) if speed == "fast" else Sampling("Euler", steps)


class PainterSetup(Record):
    """The models, device and precision for painting. Hashable: equal setups share the loaded models."""

    profile: Profile
    """The profile, with the options' changes."""
    adapter: Adapter | None
    """The character LoRA, or None."""
    more_adapters: tuple[Adapter, ...] = ()
    """LoRAs besides the character's."""
    device: str
    """cpu, cuda, cuda:N or mps."""
    precision: Precision
    with_controlnet: bool
    """Whether requests may carry a control picture."""
    batch_size: int = Field(ge=1)
    """Largest number of frames in one batch."""
    speed: Speed = "exact"
    """plain: the libraries' own code. Others: fused kernels and CUDA graphs too, which change rounding only."""
    low_memory: bool = False
    """Keep the text encoders and CLIP in main memory. The encoders are moved to the device layer by layer to compute;
    CLIP scores on the CPU."""

    def with_adapters(self, adapters: Sequence[Adapter]) -> PainterSetup:
        """Return the setup with these LoRAs, the character's first."""
        first, more = (adapters[0] if adapters else None), tuple(adapters[1:])
        return self.model_copy(update={"adapter": first, "more_adapters": more})

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """Return all LoRAs, the character's first."""
        return (*([] if self.adapter is None else [self.adapter]), *self.more_adapters)

    @property
    def scoring_device(self) -> str:
        """Return the device that CLIP runs on."""
        return "cpu" if self.low_memory else self.device


class ControlPicture(Record):
    """A picture whose lines guide a frame."""

    file: str
    scale: float = Field(ge=0.0, le=2.0)
    """Strength of the lines; 0 is off."""
    end: float = Field(ge=0.0, le=1.0)
    """Share of the steps in which the lines act; 0 is off."""
    kind: Literal["reference", "sketch"]
    """reference: a painted picture, of which the Canny edges are used. sketch: a drawing whose own lines are used."""

    @property
    def acts(self) -> bool:
        """Whether its strength and share of steps are above 0."""
        return self.scale > 0.0 and self.end > 0.0


class PaintRequest(Record):
    """One frame to paint."""

    prompt: str = Field(min_length=1)
    negative_prompt: str
    """Negative prompt; empty means the base's own unconditional embedding."""
    seed: int = Field(ge=0)
    size: PictureSize
    original_scale: float = 1.0
    """See `models.profiles.Profile`."""
    steps: int = Field(ge=1)
    sampler: Sampler = "Euler"
    guidance: float = Field(ge=0.0)
    """Guidance scale; at 1 and below the negative prompt is not used, which halves the time."""
    control: ControlPicture | None
    trigger: str = ""
    """Word of the prompt whose place in the picture is found; empty: none. It changes no pixel."""

    @property
    def batch_key(self) -> BatchKey:
        """Return the settings that a pipeline takes once per batch; requests of one batch must agree on them."""
        control = self.control if self.control is not None and self.control.acts else None
        lines = (control.scale, control.end) if control is not None else None
        return (
            self.size,
            self.original_scale,
            self.steps,
            self.sampler,
            self.guidance,
            lines,
            self.negative_prompt == "",
        )
