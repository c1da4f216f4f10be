"""The checks of a training: everything that would stop it is reported at once, before any work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from models.bases.configurations import find_misfits
from models.errors import ChecksFailed, StoryboardError
from models.lora.comparison.sample_prompts import check_prompts
from models.lora.configuration.accelerate_settings import AccelerateSettings
from models.lora.options import MixedPrecision, TrainingOptions
from models.lora.publishing.publish import find_earlier_publication, find_publish_problems
from models.lora.training import checkpoints
from models.lora.training.belonging import find_foreign_checkpoints
from models.lora.training.memory import SIDE_OF_SDXL, find_memory_problem, lora_weights
from models.preflight.checks import find_output_problems, gather
from models.preflight.components import Need, find_absent, find_full_disks, needs_of
from models.preflight.devices import HEAVY, choose_device, precision_on, why_absent
from models.profiles import STEPPE, Precision
from models.secrets.keys import Keys

__all__ = ["choose_mixed_precision", "choose_training_device", "find_fallback", "find_training_problems", "require"]

BYTES_A_WEIGHT = 4 + 4 + 8
"""In a checkpoint: the saved weight (4 at most), its fp32 master, and AdamW's two moments."""


def require(options: TrainingOptions, settings: AccelerateSettings | None, keys: Keys, run: str) -> None:
    """Go on only if nothing is wrong.

    Raises:
        ChecksFailed: holds every problem.
    """
    problems = find_training_problems(options, settings, keys, run)
    if problems:
        raise ChecksFailed(problems)


def find_training_problems(
    options: TrainingOptions, settings: AccelerateSettings | None, keys: Keys, run: str
) -> tuple[str, ...]:
    """All that is wrong, in the order in which to correct it; empty if a training can begin.

    Args:
        options: what was asked for.
        settings: accelerate's, if a file of them was named.
        keys: for publishing to S3.
        run: name of this run: checkpoints that it wrote itself, before it was retried, are no problem.
    """
    checks: list[Callable[[], Iterator[str]]] = [
        partial(find_output_problems, options.output_dir),
        partial(_checkpoint_problems, options, run),
        partial(_prompt_problems, options),
        partial(_publish_problems, options, keys),
        partial(_model_problems, options),
        partial(_room_problems, options),
        partial(_device_problems, options, settings),
        partial(_optimizer_problems, options),
    ]
    return gather(checks)


def choose_training_device(options: TrainingOptions, settings: AccelerateSettings | None) -> str:
    """The device asked for, else the CPU or the GPU that accelerate's settings name, else what there is.

    Raises:
        ImportError: torch is needed to look for a GPU and is not installed.
    """
    if options.device is not None:
        return options.device
    if settings is not None and settings.use_cpu:
        return "cpu"
    if settings is not None and settings.num_processes == 1 and settings.gpu_ids:
        return f"cuda:{settings.gpu_ids[0]}"
    if settings is not None and not settings.use_cpu and (settings.needs_gpu or settings.num_processes > 1):
        return "cuda"
    return choose_device(options)


def find_fallback(options: TrainingOptions, settings: AccelerateSettings | None) -> str | None:
    """One line if the CPU trains though accelerate's settings do not ask for it, else None."""
    if settings is None or settings.use_cpu or choose_training_device(options, settings) != "cpu":
        return None
    if options.device is not None:
        return None
    return f"{options.accelerate_config}: use_cpu is not true, and there is no GPU: the CPU trains"


def choose_mixed_precision(settings: AccelerateSettings | None, device: str) -> MixedPrecision:
    """What accelerate's settings say, else fp16 on a GPU and none elsewhere."""
    if settings is not None:
        return settings.mixed_precision
    return "fp16" if device.startswith("cuda") else "no"


def choose_painting_precision(options: TrainingOptions, device: str) -> Precision:
    """What checkpoints are compared in: as a storyboard is painted on that device."""
    return precision_on(device, options.get_profile())


def _checkpoint_problems(options: TrainingOptions, run: str) -> Iterator[str]:
    output = Path(options.output_dir).absolute()
    try:
        start = checkpoints.find_start(output, options.resume_from_checkpoint)
        yield from find_foreign_checkpoints(output, start, run)
    except StoryboardError as error:
        yield str(error)


def _publish_problems(options: TrainingOptions, keys: Keys) -> Iterator[str]:
    yield from find_publish_problems(options.publish_to, keys, options.character())
    # What a training that goes on will publish may lie there already: publishing itself then compares the weights.
    if not options.replace and options.resume_from_checkpoint is None:
        yield from find_earlier_publication(options.publish_to, keys, options.character())


def _model_problems(options: TrainingOptions) -> Iterator[str]:
    profile = options.get_profile()
    absent = list(find_absent([profile.base, profile.clip]))
    yield from absent or find_misfits(profile, "training", guided=False)


def _prompt_problems(options: TrainingOptions) -> Iterator[str]:
    try:
        check_prompts(options)
    except StoryboardError as error:
        yield str(error)


def _room_problems(options: TrainingOptions) -> Iterator[str]:
    """Disks without space for the base or for SDXL's checkpoints; a small model's checkpoints are not counted."""
    profile = options.get_profile()
    needs = list(needs_of([profile.base, profile.clip]))
    if profile.native_size >= SIDE_OF_SDXL:
        count = -(-(options.max_train_steps or 1) // options.checkpointing_steps)
        kept = min(count, options.checkpoints_total_limit or count) + 1
        size = int(lora_weights(options) * BYTES_A_WEIGHT * kept)
        needs.append(Need(f"{kept} checkpoints", size, Path(options.output_dir)))
    yield from find_full_disks(needs)


def _device_problems(options: TrainingOptions, settings: AccelerateSettings | None) -> Iterator[str]:
    device, profile = choose_training_device(options, settings), options.get_profile()
    precision = choose_mixed_precision(settings, device)
    if not device.startswith("cuda"):
        if device == "cpu" and profile.memory > HEAVY and options.device is None:
            yield f"profile {profile.name} needs a GPU: none found; use --profile {STEPPE.name}, or a machine with one"
        if precision == "fp16":
            yield f"mixed_precision fp16 does not train on {device}: set it to no or bf16 in the accelerate config"
    absent = why_absent(device)
    if absent:
        yield absent
    elif device.startswith("cuda"):
        yield from _gpu_problems(options, settings, device)


def _gpu_problems(options: TrainingOptions, settings: AccelerateSettings | None, device: str) -> Iterator[str]:
    import torch

    there = torch.cuda.device_count()
    if settings is not None and settings.num_processes > there:
        yield f"num_processes {settings.num_processes} needs as many GPUs, there are {there}: set it to {there}"
    free, total = torch.cuda.mem_get_info(device)
    # What this process holds are models of an earlier run, which make room for the training.
    usable = free + torch.cuda.memory_reserved(device)
    problem = find_memory_problem(options, choose_mixed_precision(settings, device), device, usable, total)
    if problem is not None:
        yield problem


def _optimizer_problems(options: TrainingOptions) -> Iterator[str]:
    if options.optimizer == "adamw_8bit" and find_spec("bitsandbytes") is None:
        yield "optimizer adamw_8bit needs bitsandbytes: pip install bitsandbytes, or use adamw or adamw_fused"
