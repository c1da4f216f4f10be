"""Put a character LoRA on the base: read it, check that every key has its module, and add it to the weights.

A LoRA of rank r says `W + alpha / r * up @ down` (Hu et al. 2021, https://arxiv.org/abs/2106.09685). It is added once,
here, in fp32 with one rounding, so that painting costs what the bare base costs. Nothing is added before everything
has been checked: a LoRA that does not fit leaves the base as it was.

Two layouts are read: a folder of three PEFT adapters (`LAYOUT`), and one safetensors file with the keys of diffusers or
of kohya's sd-scripts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from models.diffusion.adapter_files import LAYOUT, ComponentFile, read_folder, read_single
from models.errors import AdapterMismatch, WeightsInvalid
from models.records import Adapter

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("models.diffusion")

UNSUPPORTED = ("use_dora", "fan_in_fan_out", "lora_bias")


class Delta(NamedTuple):
    """What a LoRA adds to one weight: `scale * up @ down`."""

    up: torch.Tensor
    """[outputs, rank], trailing ones allowed."""
    down: torch.Tensor
    """[rank, inputs], and for a convolution its kernel."""
    scale: float
    """alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRA (https://arxiv.org/abs/2312.03732)."""


def fuse_adapter(adapter: Adapter, parts: Mapping[str, Any]) -> dict[str, int]:
    """Add a LoRA to the base's weights, in place.

    Args:
        adapter: a folder of PEFT adapters, a folder with one safetensors file, or such a file.
        parts: the base's modules: "unet", "text_encoder", "text_encoder_2".

    Returns:
        How many modules it changed in each part.

    Raises:
        WeightsInvalid: a missing, broken or unsafe file. The base is left as it was.
        AdapterMismatch: it does not fit this base, or is of a kind not read here. The base is left as it was.
    """
    path = Path(adapter.path)
    if any((path / folder).is_dir() for folder in LAYOUT):
        files = read_folder(path)
    else:
        files = read_single(path, parts["unet"].config)
    deltas = {part: _fit(file, parts[part]) for part, file in files.items()}
    for part, changes in deltas.items():
        _add(changes, parts[part])
    changed = {part: len(changes) for part, changes in deltas.items()}
    logger.info("adapter %s: %s", adapter.source, ", ".join(f"{number} in {part}" for part, number in changed.items()))
    return changed


def _fit(file: ComponentFile, module: Any) -> dict[str, Delta]:
    """Every key of the file as a change to one of the module's weights, all shapes checked."""
    modules = dict(module.named_modules())
    deltas: dict[str, Delta] = {}
    for name, (down, up) in _pairs(file).items():
        found = _find(name, modules)
        if found is None:
            raise AdapterMismatch(f"{file.path}: {name!r} is not a module of this base's {type(module).__name__}")
        _check_shapes(file, name, (down, up), modules[found].weight)
        deltas[found] = Delta(up, down, _scale(file, name, down.shape[0]))
    return deltas


def _pairs(file: ComponentFile) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Module name -> (down, up); a key that is neither, or half a pair, is refused."""
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in file.tensors.items():
        name, found, half = key.rpartition(".lora_")
        if not found or half not in ("A.weight", "B.weight"):
            raise AdapterMismatch(f"{file.path}: {key!r} is not a LoRA weight that can be read here")
        if not bool(tensor.isfinite().all()):
            raise WeightsInvalid(f"{file.path}: {key!r} holds numbers that are not finite; train or fetch it again")
        halves.setdefault(name, {})[half[0]] = tensor
    broken = [name for name, pair in halves.items() if len(pair) != 2]
    if broken or not halves:
        raise AdapterMismatch(f"{file.path}: {broken[0]!r} has no partner" if broken else f"{file.path}: it is empty")
    return {name: (pair["A"], pair["B"]) for name, pair in halves.items()}


def _find(name: str, modules: Mapping[str, Any]) -> str | None:
    """The module a key means. `text_model.` comes and goes between releases of transformers: both are read."""
    for candidate in (name, name.removeprefix("text_model."), f"text_model.{name}"):
        if getattr(modules.get(candidate), "weight", None) is not None:
            return candidate
    return None


def _check_shapes(
    file: ComponentFile, name: str, pair: tuple[torch.Tensor, torch.Tensor], weight: torch.Tensor
) -> None:
    down, up = (tensor.flatten(1) for tensor in pair)
    fits = (up.shape[0], down.shape[1]) == tuple(weight.flatten(1).shape) and up.shape[1] == down.shape[0]
    if not fits:
        shapes = f"up {list(pair[1].shape)} and down {list(pair[0].shape)}"
        raise AdapterMismatch(f"{file.path}: {name!r} has {shapes}, this base's weight is {list(weight.shape)}")


def _scale(file: ComponentFile, name: str, rank: int) -> float:
    """alpha / rank, by the file's alpha of this module, else by its config."""
    config = file.config
    unread = [option for option in UNSUPPORTED if config.get(option)]
    if unread or config.get("peft_type", "LORA") != "LORA":
        raise AdapterMismatch(f"{file.path}: only plain LoRA is read, its config says {unread or config['peft_type']}")
    declared = _pattern(config.get("rank_pattern"), name, config.get("r", rank))
    if declared != rank:
        raise AdapterMismatch(f"{file.path}: {name!r} has rank {rank}, its config says {declared}")
    alpha = file.alphas.get(name, _pattern(config.get("alpha_pattern"), name, config.get("lora_alpha", rank)))
    return float(alpha / rank**0.5 if config.get("use_rslora") else alpha / rank)


def _pattern(patterns: Mapping[str, float] | None, name: str, default: float) -> float:
    """What PEFT would look up: the first pattern that matches the end of the name."""
    from peft.utils.other import get_pattern_key

    return (patterns or {}).get(get_pattern_key(list(patterns or {}), name), default)


def _add(deltas: Mapping[str, Delta], module: Any) -> None:
    import torch

    with torch.no_grad():
        for name, delta in deltas.items():
            weight = module.get_submodule(name).weight
            up, down = (tensor.to(weight.device, torch.float32).flatten(1) for tensor in delta[:2])
            change = (delta.scale * (up @ down)).view_as(weight)
            weight.copy_(weight.float() + change)
