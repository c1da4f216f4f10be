"""The model cache: one locked set of loaded pipelines per process.

The first caller loads; others wait and get the same pipelines. One base is held at a time, because two do not fit the
intended GPUs, unless a process that paints for many runs asks for more (`keep_loaded`). A setup with another base,
adapter, device or precision then replaces the loaded models; another batch size or ControlNet does not. Adapters are
fused into the weights, so another adapter means reading the base again: this needs no copy of the original weights, and
restores them exactly.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from models.bases.compatibility import Config, Configs
from models.bases.hub import name_of
from models.bases.schedules import CONFIG_FILE, Sampler, schedule_for
from models.diffusion.adapters import fuse_adapters
from models.diffusion.compute import compute
from models.diffusion.parts import base_configs, read_controlnet, read_part, tokenizer_folder, vae_overflows
from models.diffusion.requests import PainterSetup
from models.diffusion.weights import check_device, first_line, give_memory_back, torch_dtype
from models.errors import OutOfMemory, WeightsInvalid
from models.profiles import Speed
from models.progress import StageProgress
from models.records import LoraUse

logger = logging.getLogger("models.diffusion")

_Key = tuple[object, ...]


@dataclass(frozen=True)
class Models:
    """Loaded pipelines that share every component but the ControlNet."""

    plain: Any
    """`StableDiffusionXLPipeline`."""
    controlled: Any | None
    """`StableDiffusionXLControlNetPipeline`, or None if no setup asked for it yet."""
    device: str
    scheduler: Callable[[Sampler], Any]
    """Returns a sampler's scheduler on the base's own noise schedule; see `scheduler_of`."""
    speed: Speed
    loras: tuple[LoraUse, ...]
    """What each of the setup's LoRAs changed in the base."""
    warm: set[Any] = field(default_factory=set)
    """Kinds of calls that have run once since loading: see `models.diffusion.graphs`."""
    failures: list[str] = field(default_factory=list)
    """The errors after which kernels and graphs were switched off. See `models.diffusion.fallback`."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held during painting: both pipelines share one scheduler, which counts its steps."""


class _ModelCache:
    """The loaded models by their keys, the last used one last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.most = 1
        self.models: dict[_Key, Models] = {}

    def clear(self) -> None:
        self.models.clear()
        give_memory_back()

    def touch(self, key: _Key) -> None:
        """Mark a key as used last."""
        self.models[key] = self.models.pop(key)

    def make_room(self, most: int) -> None:
        """Drop what was not used for the longest time, until there are at most so many."""
        if len(self.models) > most:
            for key in list(self.models)[: len(self.models) - most]:
                del self.models[key]
            give_memory_back()


_MODEL_CACHE = _ModelCache()


def load(setup: PainterSetup, progress: StageProgress | None = None) -> Models:
    """Return the pipelines of a setup, loaded by the first caller and shared with all later ones.

    Args:
        setup: models and device. `batch_size` is ignored.
        progress: called as (what is being loaded, share done 0..1) during loading; not called for a cached setup.

    Raises:
        InputError: unknown device.
        WeightsInvalid, AdapterMismatch, ConnectionFailed, OutOfMemory: see `models.errors`. Nothing is cached then.
    """
    return compute(setup.device, lambda: _load(setup, _reporter(progress)))


def _load(setup: PainterSetup, report: StageProgress) -> Models:
    key = (setup.profile, setup.adapters, setup.device, setup.precision, setup.speed, setup.low_memory)
    cache = _MODEL_CACHE
    with cache.lock:
        if key not in cache.models:
            cache.make_room(cache.most - 1)
            check_device(setup.device)
            cache.models[key] = _load_making_room(setup, report)
        cache.touch(key)
        if setup.with_controlnet and cache.models[key].controlled is None:
            own = setup.model_copy(update={"speed": "plain"}) if cache.models[key].failures else setup
            controlled = _load_controlled(own, cache.models[key].plain, report)
            cache.models[key] = replace(cache.models[key], controlled=controlled)
        return cache.models[key]


def _load_making_room(setup: PainterSetup, report: StageProgress) -> Models:
    """Load a base; if there is no memory for it beside others, load it alone."""
    try:
        return _load_base(setup, report)
    except OutOfMemory:
        if not _MODEL_CACHE.models:
            raise
    _MODEL_CACHE.clear()
    return _load_base(setup, report)


def keep_loaded(most: int) -> None:
    """Keep so many loaded setups in memory, as long as there is room; one unless this is called."""
    with _MODEL_CACHE.lock:
        _MODEL_CACHE.most = most
        _MODEL_CACHE.make_room(most)


def import_libraries() -> None:
    """Import the libraries that loading needs, which takes seconds; no model is loaded.

    Raises:
        Exception: any error of a broken installation.
    """
    quieten()
    from diffusers import StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline  # noqa: F401
    from transformers import CLIPModel, CLIPTokenizer  # noqa: F401


def unload() -> None:
    """Empty the model cache; the memory is freed when no painting uses the models any more."""
    with _MODEL_CACHE.lock:
        _MODEL_CACHE.clear()


def _reporter(progress: StageProgress | None) -> StageProgress:
    def report(what: str, share: float) -> None:
        logger.info("loading: %s (%d %%)", what, round(100 * share))
        if progress is not None:
            progress(what, share)

    return report


def _load_base(setup: PainterSetup, report: StageProgress) -> Models:
    quieten()
    from diffusers import StableDiffusionXLPipeline

    profile = setup.profile
    report(f"base {profile.base.source}", 0.0)
    configs = base_configs(profile)
    parts = _read_parts(configs, setup, report)
    if setup.adapters:
        report(f"adapter {', '.join(adapter.source for adapter in setup.adapters)}", 0.8)
    loras = fuse_adapters(setup.adapters, parts)
    for name in ("unet", "vae") if setup.speed != "plain" else ():
        quicken(parts[name], setup.device)
    if setup.low_memory and setup.device != "cpu":
        _keep_in_main_memory(setup.device, parts["text_encoder"], parts["text_encoder_2"])
    zeros = configs["index"].get("force_zeros_for_empty_prompt", True)
    scheduler = partial(scheduler_of, configs.get("scheduler", {}), f"base {name_of(profile.base)}")
    # diffusers would add a watermark if the package for it is installed.
    plain = StableDiffusionXLPipeline(
        **parts, scheduler=scheduler("Euler"), force_zeros_for_empty_prompt=zeros, add_watermarker=False
    )
    plain.set_progress_bar_config(disable=True)
    report("base", 1.0)
    return Models(plain, None, device=setup.device, scheduler=scheduler, speed=setup.speed, loras=loras)


def _keep_in_main_memory(device: str, *models: Any) -> None:
    """Keep models in main memory; their layers are moved to the device one by one to compute."""
    from accelerate import cpu_offload

    for model in models:
        cpu_offload(model, device)
    give_memory_back()


def _read_parts(configs: Configs, setup: PainterSetup, report: StageProgress) -> dict[str, Any]:
    import torch

    profile, dtype = setup.profile, torch_dtype(setup.precision)
    of_vae = torch.float32 if dtype == torch.float16 and vae_overflows(configs["vae"]) else dtype
    dtypes = {"text_encoder": dtype, "text_encoder_2": dtype, "vae": of_vae, "unet": dtype}
    parts: dict[str, Any] = {}
    for done, (name, part_dtype) in enumerate(dtypes.items()):
        report(name, 0.1 + 0.15 * done)
        parts[name] = read_part(profile, name, part_dtype, setup.device)
    for name in ("tokenizer", "tokenizer_2"):
        longest = parts[name.replace("tokenizer", "text_encoder")].config.max_position_embeddings
        parts[name] = read_tokenizer(tokenizer_folder(profile, name), longest)
    return parts


def scheduler_of(config: Config, where: str, sampler: Sampler | Literal["training"]) -> Any:
    """Return a diffusers scheduler on the base's own noise schedule.

    Args:
        config: the content of the base's scheduler_config.json.
        where: the base's name for messages.

    Raises:
        WeightsInvalid: the sampler can't follow this schedule.
    """
    import diffusers

    schedule = schedule_for(config, sampler, where)
    try:
        return getattr(diffusers, schedule.class_name)(**schedule.settings)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise WeightsInvalid(f"{where}: {first_line(error)}; correct its {CONFIG_FILE}") from error


def read_tokenizer(folder: Path, longest: int) -> Any:
    """Return the CLIP tokenizer in `folder`, limited to `longest` tokens, because the folder may hold no limit.

    Raises:
        WeightsInvalid: a file is missing or broken.
    """
    from transformers import CLIPTokenizer

    for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file() and not (folder / "tokenizer.json").is_file():
            raise WeightsInvalid(f"{folder / name}: missing; fetch the weights again")
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise WeightsInvalid(f"{folder}: not a CLIP tokenizer ({error})".splitlines()[0]) from error
    tokenizer.model_max_length = min(tokenizer.model_max_length, longest)
    return tokenizer


def _load_controlled(setup: PainterSetup, plain: Any, report: StageProgress) -> Any:
    from diffusers import StableDiffusionXLControlNetPipeline

    report(f"controlnet {setup.profile.controlnet.source}", 0.0)
    controlnet = read_controlnet(setup.profile, torch_dtype(setup.precision), setup.device)
    if setup.speed != "plain":
        quicken(controlnet, setup.device)
    zeros = plain.config.force_zeros_for_empty_prompt
    controlled = StableDiffusionXLControlNetPipeline(
        **plain.components, controlnet=controlnet, force_zeros_for_empty_prompt=zeros, add_watermarker=False
    )
    controlled.set_progress_bar_config(disable=True)
    report("controlnet", 1.0)
    return controlled


def quicken(model: Any, device: str) -> None:
    """Speed up a UNet, ControlNet or VAE on this device, with equal results up to rounding."""
    import torch

    if not device.startswith("cuda"):
        model.to(memory_format=torch.channels_last)  # ten pictures on two cores: 166 ms a UNet step instead of 207
        return
    try:
        from models.diffusion.fused import fuse

        with torch.cuda.device(device):
            fuse(model)
    except Exception as error:  # no Triton, no C compiler, an unknown GPU: the run can go on without kernels
        logger.warning("going on without fused kernels, which is slower: %s", first_line(error))


def quieten() -> None:
    """Keep the libraries' progress bars and notes out of the log; this module reports progress and errors itself."""
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.set_verbosity_error()  # its warnings on moves to a device do not apply here
