"""Weights: the character LoRA onto this machine, and the models into memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger

from models.board.store import Store
from models.checks import choose_batch_size, choose_device, choose_low_memory, choose_precision
from models.components import fingerprints_here
from models.diffusion.requests import PainterSetup
from models.errors import StoryboardError
from models.keys import Keys
from models.records import Adapter, Weights
from models.settings import StoryboardOptions
from models.storage import fetch_adapter
from models.studio import Studio, set_up
from tasks.progress import InQuarters
from tasks.retries import RETRYING

CHECKPOINTS = "checkpoints"


@task(name="weights", **RETRYING)
def fetch_weights(options: StoryboardOptions) -> Adapter | None:
    """The character LoRA from S3, a folder or the profile; None where there is none.

    Raises:
        StorageError, WeightsInvalid: see `models.errors`.
    """
    source = options.lora_path or options.get_profile().adapter
    if source is None or source == "none":
        get_run_logger().info("no character LoRA: the base paints alone")
        return None
    cache = Path(options.output_dir) / CHECKPOINTS
    adapter = fetch_adapter(source, cache_dir=cache, keys=Keys(), progress=InQuarters("character LoRA"))
    get_run_logger().info("character LoRA %s, fingerprint %s", adapter.source, adapter.fingerprint[:12])
    return adapter


def find_weights(options: StoryboardOptions) -> Weights | None:
    """What these options paint with now. None, with a warning, where that cannot be told before a storyboard's checks.

    Raises:
        ConnectionFailed: the LoRA's endpoint is out of reach.
    """
    try:
        found = fingerprints_here(options)
        adapter = None if found is None else fetch_weights.fn(options)
    except StoryboardError as error:
        if error.retryable:
            raise
        get_run_logger().warning("storyboards that are there do not count, as their weights are not here: %s", error)
        return None
    if found is None:
        get_run_logger().warning("storyboards that are there do not count, as their base models are not here yet")
        return None
    return Weights.model_validate({**found, "adapter": adapter.fingerprint if adapter else None})


@task(name="load models", **RETRYING)
def load_models(options: StoryboardOptions, adapter: Adapter | None, run: str) -> Studio:
    """Base, LoRA, ControlNet and CLIP on the device; what is loaded already stays.

    Raises:
        ModelError, OutOfMemory: see `models.errors`.
    """
    from models.diffusion.loading import load
    from models.diffusion.weights import fingerprints
    from models.vision.clip import load_scorer

    device = choose_device(options)
    setup = PainterSetup(
        profile=options.get_profile(),
        adapter=adapter,
        device=device,
        precision=choose_precision(options, device),
        with_controlnet=options.pipeline == "reference_guided",
        batch_size=choose_batch_size(options, device),
        speed=options.speed,
        low_memory=choose_low_memory(options, device),
    )
    with ThreadPoolExecutor(1) as aside:
        # Of local folders every byte is read, which takes longer than loading.
        told = aside.submit(fingerprints, setup)
        load(setup)
        load_scorer(setup.profile, setup.scoring_device)
    weights = Weights(**told.result(), adapter=adapter.fingerprint if adapter else None)
    spared = ", text encoders and CLIP in main memory" if setup.low_memory else ""
    get_run_logger().info("models of %s on %s in %s%s", setup.profile.name, setup.device, setup.precision, spared)
    return set_up(options, setup, weights, store=Store.within(options.output_dir), run=run)
