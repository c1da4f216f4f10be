"""The settings that a run's frames have in common: as resolved at its start, and as completed by loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.bases.schedules import Sampler
from models.diffusion.requests import PainterSetup, sampling
from models.loras import WantedLora, wanted_loras
from models.profiles import Profile
from models.records import LoraUse, Record, Sketch, Weights
from models.scores import Bounds
from models.settings import EMBEDDED, Pipeline, Queue, StoryboardOptions
from models.sizes import SQUARE, PictureSize, Size
from models.storage.files import sha256_of
from models.turbo import GUIDANCE, Turbo, TurboWishes, choose_turbo, is_in_hub, locate_lora


class RenderSettings(Record):
    """The settings with which all frames of a board are painted and judged, independent of device and weights."""

    pipeline: Pipeline
    size: PictureSize
    original_scale: float = 1.0
    """See `models.profiles.Profile`; earlier reports do not have it."""
    steps: int
    """Number of model evaluations: the requested steps, as reduced by `speed`."""
    sampler: Sampler = "Euler"
    guidance: float
    control_scale: float
    control_end: float
    consistency_threshold: float
    prompt_threshold: float
    bounds: Bounds | None = None
    """Of the hero's likeness. Earlier reports have none: their frames are compared as whole pictures."""

    @property
    def thresholds(self) -> dict[str, Any]:
        """The gate's thresholds, as keyword arguments of `models.vision.gate.judge`."""
        return {
            "consistency_threshold": self.consistency_threshold,
            "prompt_threshold": self.prompt_threshold,
            "bounds": self.bounds,
        }

    def settings(self) -> dict[str, Any]:
        """Return the fields of RenderSettings by name, without those of subclasses."""
        return {name: getattr(self, name) for name in RenderSettings.model_fields}


class RunSettings(RenderSettings):
    """Options, profile and machine of a run, resolved once at its start: `models.preflight.resolution`."""

    setup: PainterSetup
    """Profile, device and precision. The checks can't know the LoRAs' files: load models adds them."""
    base_seed: int
    attempts: int
    store: str
    """Folder of the store."""
    run: str
    """Id of this run; the report uses it to count the candidates that this run painted."""
    painters: str = EMBEDDED
    """embedded, or the address of the Ray cluster whose painters paint."""
    queue: Queue = "interactive"
    """Whose turn it is at painters that several runs share."""

    @property
    def profile(self) -> Profile:
        """The profile, with the options' models."""
        return self.setup.profile


class RenderConfig(RunSettings):
    """How all frames of a run are painted and judged: its settings, and what only loading its models can tell.

    A board's report contains it, so new fields here and in its parts need defaults for old reports.
    """

    weights: Weights
    loras: tuple[LoraUse, ...] = ()
    """The layers that each LoRA changed."""
    encoder: str = ""
    """Fingerprint of what compares the hero's crops."""
    calibration: str | None = None
    """File of the character's calibration, by which `bounds` were measured."""

    def for_one(self) -> RenderConfig:
        """Return the config with batch size 1, for a frame that must not wait for others to fill its batch."""
        return self.model_copy(update={"setup": self.setup.model_copy(update={"batch_size": 1})})


def render_settings(options: StoryboardOptions, profile: Profile) -> RenderSettings:
    """Return the render settings of these options; unset options take the profile's values.

    Raises:
        InputError: the profile does not have the aspect, or speed turbo can't be painted with these options.
    """
    turbo = turbo_of(options, profile)
    chosen_sampling = sampling(options.speed, options.steps or profile.steps, turbo)

    def chosen(given: float | None, suggested: float) -> float:
        return suggested if given is None else given

    return RenderSettings(
        pipeline=options.pipeline,
        size=_size(options, profile),
        original_scale=profile.original_scale,
        steps=chosen_sampling.steps,
        sampler=chosen_sampling.sampler,
        guidance=chosen(options.guidance, profile.guidance) if turbo is None else GUIDANCE,
        control_scale=chosen(options.control_scale, profile.control_scale),
        control_end=chosen(options.control_end, profile.control_end),
        consistency_threshold=chosen(options.threshold, profile.consistency_threshold),
        prompt_threshold=chosen(options.prompt_threshold, profile.prompt_threshold),
        bounds=bounds_of(options, profile),
    )


def bounds_of(options: StoryboardOptions, profile: Profile) -> Bounds:
    """Return the bounds of the hero's likeness: the profile's, or a threshold that was given."""
    if options.threshold is None:
        return profile.hero_bounds
    return profile.hero_bounds.model_copy(update={"least": options.threshold, "given": True})


def _size(options: StoryboardOptions, profile: Profile) -> Size:
    if options.width is not None and options.height is not None:
        return Size(options.width, options.height)
    return profile.size_of(options.aspect or SQUARE)


def loras_of(options: StoryboardOptions, profile: Profile) -> list[WantedLora]:
    """Return the LoRAs of these options, the character's first, turbo's last; the profile's own if none is named.

    Raises:
        InputError: speed turbo can't be painted with these options.
    """
    loras = wanted_loras(options.lora_path or profile.adapter, options.lora_scale, options.more_loras)
    turbo = turbo_of(options, profile)
    return [*loras, *([WantedLora(turbo.source, 1.0, "--turbo-lora", turbo.lora)] if turbo else [])]


def turbo_of(options: StoryboardOptions, profile: Profile) -> Turbo | None:
    """Return the distillation LoRA that these options paint with; None at another speed.

    Raises:
        InputError: there is none, or the options contradict it.
    """
    if options.speed != "turbo":
        return None
    wished = TurboWishes(options.turbo_lora, options.turbo_method, options.steps, options.guidance)
    return choose_turbo(wished, profile.turbo, profile.name)


def needs_no_hub(options: StoryboardOptions) -> bool:
    """Whether all models of these options are on this machine or in S3."""
    profile, named = options.get_profile(), options.turbo_lora
    turbo = locate_lora(named) if named else profile.turbo and profile.turbo.lora
    return profile.is_local and not (options.speed == "turbo" and turbo and is_in_hub(turbo))


def read_sketches(options: StoryboardOptions) -> dict[int, Sketch]:
    """Return the given sketches by frame number.

    Raises:
        ObjectNotFound, StorageError: a file is missing or can't be read.
    """
    paths = {number: Path(file).expanduser().absolute() for number, file in options.sketches.items()}
    return {number: Sketch(file=str(path), sha256=sha256_of(path)) for number, path in paths.items()}
