"""What PEFT's configuration of a LoRA may say: an allow-list, because what is not understood changes the picture.

Every option is honoured, is of the training alone, or must be off. One that PEFT has not invented yet is refused by
name as soon as it is on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from models.errors import AdapterMismatch, WeightsInvalid

HONOURED = frozenset({"peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora"})
OF_TRAINING = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "eva_config",
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "loftq_config",
        "lora_dropout",
        "megatron_config",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "target_modules",
        "task_type",
    }
)
"""Says how it was trained, or where it lies; the weights say the rest. `loftq_config` counts only with its
initialisation, `qalora_group_size` only with `use_qalora`."""
INITIALISATIONS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Those that leave the base as it was."""
_OFF: tuple[Any, ...] = (None, False, "", "none", [], {}, ())


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Refuse a configuration of which a part would not be honoured.

    Args:
        config: PEFT's `adapter_config.json` of one part, or what diffusers keeps of it in a file's metadata.
        where: for messages.

    Raises:
        AdapterMismatch: it says something that is not done here; the message names it.
        WeightsInvalid: a number in it is none that a LoRA can have.
    """
    kind = config.get("peft_type") or "LORA"
    if kind != "LORA":
        raise AdapterMismatch(f"{where}: only plain LoRA is read, its config says peft_type {kind}")
    initialised = config.get("init_lora_weights")
    if initialised not in INITIALISATIONS:
        raise AdapterMismatch(
            f"{where}: init_lora_weights {initialised!r} has changed the base that it was trained on: save it as a "
            "plain LoRA with PEFT's save_pretrained(…, path_initial_model_for_weight_conversion=…)"
        )
    for name, value in config.items():
        if name not in HONOURED | OF_TRAINING | {"init_lora_weights"} and value not in _OFF:
            raise AdapterMismatch(
                f"{where}: its config says {name} {value!r}, which is not read here; save a plain LoRA"
            )
    _check_numbers(config, where)


def _check_numbers(config: Mapping[str, Any], where: str) -> None:
    for name in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(name) or {}, dict):
            raise WeightsInvalid(f"{where}: {name} must be an object, got {config[name]!r}")
    ranks = {"r": config.get("r", 1), **(config.get("rank_pattern") or {})}
    alphas = {"lora_alpha": config.get("lora_alpha", 1), **(config.get("alpha_pattern") or {})}
    for name, value in ranks.items():
        if not _is_number(value) or value < 1:
            raise WeightsInvalid(f"{where}: rank {name} must be 1 or more, got {value!r}")
    for name, value in alphas.items():
        if not _is_number(value) or value == 0:
            raise WeightsInvalid(f"{where}: alpha {name} must be a finite number other than 0, got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
