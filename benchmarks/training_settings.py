"""The settings that `benchmarks.gpu_training` measures."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from models.lora.options import MixedPrecision


class Setting(NamedTuple):
    """One setting of the training."""

    name: str
    precision: MixedPrecision
    changes: dict[str, Any]
    """Changes to the document's configuration."""
    card_gib: float | None = None
    """Memory of the card that it must fit."""
    processes: int = 1
    """One a GPU, by torchrun."""
    steps: int | None = None
    """Number of updates; None for the command line's."""


SPARING = {"gradient_checkpointing": True}
ONE_BY_ONE = {"train_batch_size": 1, "gradient_accumulation_steps": 4}
SETTINGS = (
    Setting("document, fp16", "fp16", {}),
    Setting("document, bf16", "bf16", {}),
    Setting("plain, fp16", "fp16", {"speed": "plain"}),
    Setting("whole training of 1000 steps, fp16", "fp16", {"checkpointing_steps": 100}, steps=1000),
    Setting("two GPUs, fp16", "fp16", {}, processes=2),
    Setting("24 GB card, whatever fits", "fp16", {}, 24),
    Setting("16 GB card, whatever fits", "fp16", {}, 16),
    Setting("24 GB card, gradient checkpointing", "fp16", SPARING, 24),
    Setting("24 GB card, batch 2 x 2", "fp16", {"train_batch_size": 2, "gradient_accumulation_steps": 2}, 24),
    Setting("16 GB card, gradient checkpointing", "fp16", SPARING, 16),
    Setting("16 GB card, gradient checkpointing, batch 1 x 4", "fp16", {**SPARING, **ONE_BY_ONE}, 16),
    Setting("16 GB card, batch 1 x 4", "fp16", ONE_BY_ONE, 16),
    Setting(
        "16 GB card, gradient checkpointing, batch 1 x 4, 8-bit AdamW",
        "fp16",
        {**SPARING, **ONE_BY_ONE, "optimizer": "adamw_8bit"},
        16,
    ),
)


def settings_for(device: str, only: list[str] | None) -> Iterator[Setting]:
    """Yield the settings that this device can run, and print why others are omitted. A CPU has no fp16 and no 8-bit."""
    on_gpu, eight_bit = device.startswith("cuda"), importlib.util.find_spec("bitsandbytes") is not None
    for setting in SETTINGS:
        if only is not None and not any(word in setting.name for word in only):
            continue
        why = None
        if not on_gpu and (setting.steps or setting.processes > 1 or "optimizer" in setting.changes):
            why = "not on a GPU"
        elif setting.processes > torch.cuda.device_count() and on_gpu:
            why = f"there are {torch.cuda.device_count()} GPUs"
        elif setting.changes.get("optimizer") == "adamw_8bit" and not eight_bit:
            why = "bitsandbytes is not installed"
        if why is not None:
            print(f"{setting.name}: not measured: {why}", flush=True)
            continue
        yield setting if on_gpu or setting.precision != "fp16" else setting._replace(precision="no")
