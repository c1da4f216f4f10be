"""Resolves options, profile and machine into the settings of a run, once, at its start."""

from __future__ import annotations

from models.diffusion.requests import PainterSetup
from models.frames.render_config import RunSettings, render_settings
from models.painters.choose import painter
from models.preflight.devices import (
    LOW_MEMORY_BATCH,
    batch_size_on,
    choose_device,
    lacks_memory,
    needs_low_memory,
    precision_on,
)
from models.profiles import Profile
from models.settings import EMBEDDED, StoryboardOptions
from models.storage.content_store import Store


def resolve(options: StoryboardOptions, profile: Profile, run: str) -> RunSettings:
    """Return the run's settings: each option as given, else as the profile suggests, or the device here or there.

    Args:
        options: as given.
        profile: the profile that they name.
        run: the run's id.

    Raises:
        ImportError, OSError: torch, needed to look for a GPU, can't be imported.
        PaintersUnreachable: the options name painters, and there are none.
    """
    far = None if options.painters == EMBEDDED else painter(options.painters).machine()
    device = choose_device(options) if far is None else options.device or far.device
    if far is None:
        low_memory = needs_low_memory(device, profile, options.low_memory)
    else:
        low_memory = lacks_memory(far, profile, options.low_memory)
    suggested = batch_size_on(device, profile)
    setup = PainterSetup(
        profile=profile,
        adapter=None,
        device=device,
        precision=options.precision or precision_on(device, profile),
        with_controlnet=options.pipeline == "reference_guided",
        batch_size=options.batch_size or (min(suggested, LOW_MEMORY_BATCH) if low_memory else suggested),
        speed=options.speed,
        low_memory=low_memory,
    )
    return RunSettings(
        **render_settings(options, profile).settings(),
        setup=setup,
        base_seed=options.seed,
        attempts=options.attempts,
        store=str(Store.within(options.output_dir).root),
        run=run,
        painters=options.painters,
        queue=options.queue,
    )
