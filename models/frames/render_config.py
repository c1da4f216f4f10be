"""How a run paints: everything that its frames have in common, decided once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.bases.schedules import Sampler
from models.diffusion.requests import PainterSetup, sampling
from models.loras import WantedLora, wanted_loras
from models.records import LoraUse, Record, Sketch, Weights
from models.settings import Pipeline, StoryboardOptions
from models.storage.content_store import Store
from models.storage.files import sha256_of


class RenderSettings(Record):
    """The settings by which all frames of a board are painted and judged, whatever paints them."""

    pipeline: Pipeline
    size: int
    steps: int
    """Evaluations of the model: what `speed` leaves of the steps that were asked for."""
    sampler: Sampler = "Euler"
    guidance: float
    control_scale: float
    control_end: float
    consistency_threshold: float
    prompt_threshold: float

    @property
    def thresholds(self) -> dict[str, float]:
        """What the gate goes by."""
        return {
            "consistency_threshold": self.consistency_threshold,
            "prompt_threshold": self.prompt_threshold,
        }

    def settings(self) -> dict[str, Any]:
        """These settings alone, by name."""
        return {name: getattr(self, name) for name in RenderSettings.model_fields}


class RenderConfig(RenderSettings):
    """How all frames of a run are painted and judged; nothing in it is left to be decided.

    A board's report keeps it, and so what is added to it or to its parts needs a default.
    """

    setup: PainterSetup
    weights: Weights
    loras: tuple[LoraUse, ...] = ()
    """What each LoRA changed."""
    base_seed: int
    attempts: int
    store: str
    """Folder of the store."""
    run: str
    """Name of this run, by which the report tells what it painted from what it found."""

    def for_one(self) -> RenderConfig:
        """The same for a frame that is painted by itself: it does not wait for others to share its batch with."""
        return self.model_copy(update={"setup": self.setup.model_copy(update={"batch_size": 1})})


def make_render_config(
    options: StoryboardOptions,
    setup: PainterSetup,
    weights: Weights,
    *,
    loras: tuple[LoraUse, ...] = (),
    store: Store,
    run: str,
) -> RenderConfig:
    """The render config of these options, with the profile's value wherever an option is unset."""
    return RenderConfig(
        **render_settings(options).settings(),
        setup=setup,
        weights=weights,
        loras=loras,
        base_seed=options.seed,
        attempts=options.attempts,
        store=str(store.root),
        run=run,
    )


def render_settings(options: StoryboardOptions) -> RenderSettings:
    """How these options paint now: the profile's value wherever one is unset."""
    profile = options.get_profile()
    chosen_sampling = sampling(options.speed, options.steps or profile.steps)

    def chosen(given: float | None, suggested: float) -> float:
        return suggested if given is None else given

    return RenderSettings(
        pipeline=options.pipeline,
        size=options.size or profile.native_size,
        steps=chosen_sampling.steps,
        sampler=chosen_sampling.sampler,
        guidance=chosen(options.guidance, profile.guidance),
        control_scale=chosen(options.control_scale, profile.control_scale),
        control_end=chosen(options.control_end, profile.control_end),
        consistency_threshold=chosen(options.threshold, profile.consistency_threshold),
        prompt_threshold=chosen(options.prompt_threshold, profile.prompt_threshold),
    )


def loras_of(options: StoryboardOptions) -> list[WantedLora]:
    """The LoRAs that these options paint with, the character's first: the profile's own where none is named."""
    character = options.lora_path or options.get_profile().adapter
    return wanted_loras(character, options.lora_scale, options.more_loras)


def read_sketches(options: StoryboardOptions) -> dict[int, Sketch]:
    """The sketches that a person gave, by frame.

    Raises:
        ObjectNotFound, StorageError: a file is gone or cannot be read.
    """
    paths = {number: Path(file).expanduser().absolute() for number, file in options.sketches.items()}
    return {number: Sketch(file=str(path), sha256=sha256_of(path)) for number, path in paths.items()}
