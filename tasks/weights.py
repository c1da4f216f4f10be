"""Weights: downloads the LoRAs, and loads the models onto the device."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger

from models.bases.hub import fetch_lora
from models.errors import StoryboardError
from models.frames.likeness import calibrated
from models.frames.render_config import RenderConfig, RunSettings, loras_of
from models.loras import fingerprint_of, shown_source
from models.painters.choose import painter
from models.preflight.components import fingerprints_here
from models.profiles import Profile
from models.records import Adapter, LoraRole, Weights
from models.s3.adapters import fetch_adapter
from models.secrets.keys import Keys
from models.settings import StoryboardOptions
from models.storage.adapters import is_s3
from models.turbo import is_in_hub
from tasks.painters import count_painters
from tasks.progress import InQuarters
from tasks.retries import RETRYING

CHECKPOINTS = "checkpoints"


@task(name="weights", **RETRYING)
def fetch_weights(options: StoryboardOptions, profile: Profile) -> list[Adapter]:
    """Return the character's and other LoRAs, turbo's last, from S3, the hub, local files or the profile.

    Those from S3 or the hub are checked against the base here: the preflight downloads nothing and checks only those
    on this machine.

    Raises:
        StorageError, WeightsInvalid, AdapterMismatch: see `models.errors`.
    """
    from models.diffusion.adapter_fit import judge

    cache, adapters = Path(options.output_dir) / CHECKPOINTS, []
    for lora in loras_of(options, profile):
        in_hub = lora.turbo is not None and is_in_hub(lora.turbo)
        place = str(fetch_lora(lora.turbo)) if lora.turbo and in_hub else lora.source
        found = fetch_adapter(place, cache_dir=cache, keys=Keys(), progress=InQuarters("LoRA"))
        if in_hub or is_s3(lora.source):
            judge(Path(found.path), profile.base)
        get_run_logger().info("LoRA %s, fingerprint %s", lora.source, found.fingerprint[:12])
        role: LoraRole = "turbo" if lora.turbo else "character or style"
        shown = {"source": shown_source(lora.source), "strength": lora.strength, "role": role}
        adapters.append(found.model_copy(update=shown))
    if not adapters:
        get_run_logger().info("no LoRA: painting with the base alone")
    return adapters


def find_weights(options: StoryboardOptions) -> Weights | None:
    """Return the weights of a new board with these options; None, with a warning, if some are not here yet.

    Raises:
        ConnectionFailed: the LoRA's endpoint can't be reached.
    """
    profile = options.get_profile()
    try:
        found = fingerprints_here(options, profile)
        adapters = [] if found is None else fetch_weights.fn(options, profile)
    except StoryboardError as error:
        if error.retryable:
            raise
        get_run_logger().warning("existing storyboards are not used, because their weights are not here: %s", error)
        return None
    if found is None:
        get_run_logger().warning("existing storyboards are not used, because their base models are not here yet")
        return None
    return Weights.model_validate({**found, "adapter": fingerprint_of(adapters)})


@task(name="load models", **RETRYING)
def load_models(settings: RunSettings, adapters: list[Adapter]) -> RenderConfig:
    """Load base, LoRAs, ControlNet and what scores, unless they are loaded, and return the run's settings with weights.

    Raises:
        ModelError, OutOfMemory: see `models.errors`.
    """
    setup = settings.setup.with_adapters(adapters)
    loaded = painter(settings.painters).load(setup)
    count_painters(settings)
    bounds, calibration = calibrated(settings.bounds or setup.profile.hero_bounds, setup.adapter)
    if calibration is not None:
        get_run_logger().info("the hero is judged by %s: likeness %.2f at least", calibration, bounds.least)
    spared = ", text encoders and CLIP in main memory" if setup.low_memory else ""
    get_run_logger().info("models of %s on %s in %s%s", setup.profile.name, setup.device, setup.precision, spared)
    given = {**dict(settings), "setup": setup, "bounds": bounds}
    return RenderConfig(**given, **dict(loaded), calibration=calibration)
