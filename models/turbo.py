"""Distillation LoRAs: with one, the base paints in a few steps without guidance. What each method asks for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from models.errors import InputError
from models.records import Record
from models.sources import Component, locate

TurboMethod = Literal["lightning", "hyper", "dmd2", "lcm", "tcd"]
GUIDANCE = 1.0
"""At 1, the UNet is evaluated once a step."""
_STEPS_IN_NAME = re.compile(r"(?<![0-9])([0-9]{1,2})[-_ ]?steps?(?![a-z])", re.IGNORECASE)
_COLON = re.compile(r"(?P<repository>[^:/]+/[^:/]+):(?P<file>[^:]+)")


class Distillation(NamedTuple):
    """What the LoRAs of a method were made for."""

    steps: tuple[int, ...]
    """Numbers of steps that LoRAs of this method are made for."""
    fixed: bool
    """Whether each LoRA is made for one number of steps alone."""


METHODS: dict[TurboMethod, Distillation] = {
    "lightning": Distillation(tuple(range(2, 9)), fixed=True),
    "hyper": Distillation(tuple(range(2, 9)), fixed=True),
    "dmd2": Distillation((4,), fixed=True),
    "lcm": Distillation(tuple(range(2, 9)), fixed=False),
    "tcd": Distillation(tuple(range(2, 9)), fixed=False),
}
"""https://arxiv.org/abs/2402.13929, 2404.13686, 2405.14867, 2311.05556 and 2402.19159.
Their samplers: `sampling` in `models/diffusion/requests.py`."""


class Turbo(Record):
    """A distillation LoRA and how it is painted with."""

    lora: Component
    """Its source; for a hub repository, `files` names the one file."""
    method: TurboMethod
    steps: int = Field(ge=1)
    """Number of steps: the one that it was made for, or where its method leaves a choice, the default."""

    @property
    def distillation(self) -> Distillation:
        """Return what its method asks for."""
        return METHODS[self.method]

    @property
    def source(self) -> str:
        """Return the source as an option names it: owner/name[@revision][:file], or a path."""
        revision = f"@{self.lora.revision}" if self.lora.revision else ""
        file = f":{self.lora.files[0]}" if self.lora.files else ""
        return f"{self.lora.source}{revision}{file}"


SDXL_LIGHTNING = Turbo(
    lora=Component(  # without a revision: no commit could be verified when this was written
        source="ByteDance/SDXL-Lightning", size=int(0.4e9), files=("sdxl_lightning_8step_lora.safetensors",)
    ),
    method="lightning",
    steps=8,
)
"""https://huggingface.co/ByteDance/SDXL-Lightning, for SDXL bases."""


def turbo_in(weights: Path) -> Turbo:
    """Return the distillation LoRA of steppe weights: the product of the stage turbo of `python -m steppe.pretrain`."""
    return Turbo(lora=Component(source=str(weights / "turbo"), size=0), method="lightning", steps=5)


class TurboWishes(NamedTuple):
    """What the options say about turbo; None where they say nothing."""

    lora: str | None
    method: TurboMethod | None
    steps: int | None
    guidance: float | None


def choose_turbo(wished: TurboWishes, own: Turbo | None, profile: str) -> Turbo:
    """Return the distillation LoRA to paint with, and its steps.

    Args:
        wished: by the options.
        own: the profile's.
        profile: the profile's name.

    Raises:
        InputError: there is none, or the options contradict it; the message names rule, value and way out.
    """
    if wished.guidance is not None and wished.guidance > GUIDANCE:
        raise InputError(
            f"--guidance {wished.guidance:g}: --speed turbo paints without guidance; leave --guidance out, or choose "
            "another --speed"
        )
    if wished.lora is None and own is None:
        raise InputError(
            f"--speed turbo needs a distillation LoRA, and profile {profile} has none: name one with --turbo-lora and "
            "--turbo-method, or choose another --speed"
        )
    if wished.lora is not None and wished.method is None:
        raise InputError(
            f"--turbo-lora {wished.lora}: name with --turbo-method how it was distilled: {', '.join(METHODS)}"
        )
    if wished.lora is None and own is not None:
        turbo, known = own.model_copy(update={"method": wished.method or own.method}), own.steps
        if wished.method not in (None, own.method):
            raise InputError(
                f"--turbo-method {wished.method}: profile {profile}'s LoRA is of the method {own.method}; name one of "
                f"{wished.method} with --turbo-lora, or leave --turbo-method out"
            )
        return turbo.model_copy(update={"steps": _steps(turbo, wished.steps, known)})
    turbo = Turbo(lora=locate_lora(str(wished.lora)), method=wished.method or "lightning", steps=1)
    return turbo.model_copy(update={"steps": _steps(turbo, wished.steps, steps_in_name(turbo.source))})


def _steps(turbo: Turbo, asked: int | None, known: int | None) -> int:
    """Return the number of steps; `known` is what the LoRA was made for, as its profile or its name says."""
    valid, fixed = turbo.distillation.steps, turbo.distillation.fixed
    known = valid[0] if len(valid) == 1 else known
    steps = asked or known or (None if fixed else min(4, valid[-1]))
    if steps is None:
        raise InputError(
            f"--turbo-lora {turbo.source}: its name does not say for how many steps it was made, as in …_8step_lora: "
            "give --steps"
        )
    said = f"--steps {steps}" if asked else f"{turbo.source}: {steps} steps"
    if steps not in valid:
        raise InputError(f"{said}: {turbo.method} LoRAs are made for {_listed(valid)} steps; give one of these")
    if fixed and known is not None and steps != known:
        raise InputError(
            f"{said}: {turbo.source} was made for {known} steps; leave --steps out, or name a LoRA of {steps} steps "
            "with --turbo-lora"
        )
    return steps


def _listed(steps: tuple[int, ...]) -> str:
    return str(steps[0]) if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"


def steps_in_name(source: str) -> int | None:
    """Return the number of steps that a LoRA's name tells (sdxl_lightning_8step_lora), or None."""
    found = _STEPS_IN_NAME.findall(source.rpartition("/")[2])
    return int(found[-1]) if found else None


def is_in_hub(lora: Component) -> bool:
    """Whether a LoRA's source is a hub repository, not a path or an address."""
    return not lora.is_local and ":" not in lora.source


def locate_lora(written: str) -> Component:
    """Return the component of a LoRA: `s3://…`, an existing path, owner/name[@revision][:file], or a missing path."""
    colon = _COLON.fullmatch(written)
    if colon and not Path(written).expanduser().exists():
        source, revision = locate(colon["repository"], Path.cwd())
        if not Path(source).is_absolute():
            return Component(source=source, revision=revision, size=0, files=(colon["file"],))
    if written.lstrip().startswith("s3:") or "://" in written:
        return Component(source=written, size=0)
    source, revision = locate(written, Path.cwd())
    return Component(source=source, revision=revision, size=0)
