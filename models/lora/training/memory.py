"""How much of a GPU's memory a training takes, by its settings, and what takes less.

The figures were measured on SDXL at its full size (docs/performance.md, "Training step"): 12.0 GiB for one picture of
1024 pixels at a time, 17.1 for two, 27.5 for four; with gradient checkpointing 8.7 and 9.8 for one and four; 20.9 for
two at rank 256, 20.4 for two on all four projections, 23.6 for one without half precision.
"""

from __future__ import annotations

from models.lora.options import MixedPrecision, TrainingOptions
from models.profiles import GIB, STEPPE

SDXL_WEIGHTS_A_RANK = 59.3e6 / 64
"""Weights of a LoRA on SDXL's to_q and to_v and on both text encoders, for each rank."""
SIDE_OF_SDXL = 1024
_USUAL_TARGETS = 2
_BASE = 5.75 * GIB
"""The frozen base in half precision, and what is the same for every batch."""
_A_PICTURE = {"exact": 5.17 * GIB, "plain": 6.2 * GIB}
"""Activations of one picture of 1024 pixels, with a LoRA on two projections of each attention."""
_A_PICTURE_A_TARGET = 0.52 * GIB
"""What each further projection adds to them."""
_A_PICTURE_COMPUTED_TWICE = 0.37 * GIB
_COMPUTED_TWICE = 1.5 * GIB
"""What gradient checkpointing takes whatever the batch: the activations of its largest part."""
_BYTES_A_WEIGHT = {"adamw": 20, "adamw_fused": 20, "adamw_8bit": 14}
"""Master, gradient and AdamW's two moments, and the half-precision copy with its gradient."""


def lora_weights(options: TrainingOptions) -> float:
    """How many weights learn, on SDXL; each target counts alike, which is near enough for the projections."""
    return SDXL_WEIGHTS_A_RANK * options.rank * len(options.target_modules) / _USUAL_TARGETS


def training_memory(options: TrainingOptions, precision: MixedPrecision) -> int:
    """Bytes of device memory that a training takes; for a small base a guess that is too high rather than too low.

    With aspect buckets it is the square's, as no bucket has more pixels; prior pictures are a batch of their own there.
    """
    if options.get_profile().native_size < SIDE_OF_SDXL:
        return GIB
    pictures = options.train_batch_size * (1 if options.prior_data_dir is None or options.aspect_buckets else 2)
    pictures_of_1024 = pictures * (options.side() / SIDE_OF_SDXL) ** 2
    if options.gradient_checkpointing:
        activations = _COMPUTED_TWICE + _A_PICTURE_COMPUTED_TWICE * pictures_of_1024
    else:
        further = len(options.target_modules) - _USUAL_TARGETS
        activations = (_A_PICTURE[options.speed] + further * _A_PICTURE_A_TARGET) * pictures_of_1024
    whole = 2 if precision == "no" else 1
    return int((_BASE + activations) * whole + lora_weights(options) * _BYTES_A_WEIGHT[options.optimizer])


def with_less(options: TrainingOptions) -> TrainingOptions | None:
    """The same training in less memory: a smaller batch with as many pictures an update, then gradient checkpointing.

    None where nothing is left to spare.
    """
    batch = options.train_batch_size
    if batch > 1:
        parts = next(number for number in range(2, batch + 1) if batch % number == 0)
        accumulated = options.gradient_accumulation_steps * parts
        less = {"train_batch_size": batch // parts, "gradient_accumulation_steps": accumulated}
        return options.model_copy(update=less)
    return None if options.gradient_checkpointing else options.model_copy(update={"gradient_checkpointing": True})


def in_words(options: TrainingOptions) -> str:
    """The settings that decide the memory, for a message."""
    batch, parts = options.train_batch_size, options.gradient_accumulation_steps
    spared = " and gradient_checkpointing" if options.gradient_checkpointing else ""
    return f"train_batch_size {batch}, gradient_accumulation_steps {parts}{spared}"


def find_memory_problem(
    options: TrainingOptions, precision: MixedPrecision, device: str, free: int, total: int
) -> str | None:
    """Why the training does not fit, with settings that would, or None.

    Args:
        options: of the training.
        precision: that it computes in.
        device: for the message.
        free: bytes that it may use.
        total: bytes that the device has.
    """
    if _takes(options, precision) <= free:
        return None
    fitting = _find_fitting(options, precision, free)
    if fitting is not None:
        remedy = f"set {in_words(fitting)}, which takes {_takes(fitting, precision) / GIB:.1f} GiB"
    elif _find_fitting(options, precision, total) is not None:
        remedy = "close what else uses it, or wait"
    else:
        remedy = f"use --profile {STEPPE.name}, or a larger GPU"
    what = f"training profile {options.get_profile().name} with {in_words(options)}"
    needs = f"needs {_takes(options, precision) / GIB:.1f} GiB of memory on {device}"
    return f"{what} {needs}, {free / GIB:.1f} of {total / GIB:.1f} GiB are free: {remedy}"


def _takes(options: TrainingOptions, precision: MixedPrecision) -> int:
    """The training's memory, or what its checkpoints are painted in afterwards, where that is more."""
    return max(training_memory(options, precision), options.get_profile().low_memory)


def _find_fitting(options: TrainingOptions, precision: MixedPrecision, room: int) -> TrainingOptions | None:
    """The same training in as much memory as there is, or None."""
    less: TrainingOptions | None = options
    while less is not None and _takes(less, precision) > room:
        less = with_less(less)
    return less
