"""Put LoRAs on the base: read them, check that every key has its module, and add them to the weights.

A LoRA of rank r says `W + alpha / r * up @ down` (Hu et al. 2021, https://arxiv.org/abs/2106.09685); what other kinds
say is in `adapter_kinds.py`. All LoRAs of a run are differences to the same base. They are added once, here, in fp32
with one rounding, so that painting costs what the bare base costs. Nothing is added before everything has been
checked: a LoRA that does not fit leaves the base as it was.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from models.diffusion.adapter_files import ComponentFile, open_adapter
from models.diffusion.adapter_fit import Change, Fit, canonical, fit
from models.diffusion.adapter_keys import PARTS
from models.diffusion.adapter_kinds import BIASES, SCALED, difference, rank_of
from models.errors import AdapterMismatch, WeightsInvalid
from models.records import Adapter, LoraUse

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("models.diffusion")

Weights = dict[tuple[str, str], Any]
"""(part, key without `text_model.`) -> parameter."""


class Addition(NamedTuple):
    """What one LoRA adds to one weight."""

    kind: str
    """One of `adapter_kinds.KINDS`, or "bias"."""
    tensors: Mapping[str, torch.Tensor]
    """Role -> tensor."""
    scale: float
    """alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRA (https://arxiv.org/abs/2312.03732)."""
    strength: float
    """What the person asked for; 1 is as it was trained."""


def fuse_adapters(adapters: Sequence[Adapter], parts: Mapping[str, Any]) -> tuple[LoraUse, ...]:
    """Add LoRAs to the base's weights, in place.

    Args:
        adapters: each a folder of PEFT adapters, a folder with one safetensors file, or such a file.
        parts: the base's modules, of which the UNet and the text encoders are changed.

    Returns:
        What each of them changed.

    Raises:
        WeightsInvalid: a missing, broken or unsafe file. The base is left as it was.
        AdapterMismatch: it does not fit this base, or is of a kind not read here. The base is left as it was.
    """
    parts = {part: parts[part] for part in PARTS}
    weights = {
        (part, canonical(key)): value for part, module in parts.items() for key, value in module.named_parameters()
    }
    base = {part: {key: tuple(value.shape) for (own, key), value in weights.items() if own == part} for part in parts}
    additions: dict[tuple[str, str], list[Addition]] = {}
    uses = []
    for adapter in adapters:
        fits = [fit(file, base) for file in open_adapter(Path(adapter.path))]
        own = {key: addition for one in fits for key, addition in _read(one, adapter.strength)}
        _check_numbers(own, weights, adapter)
        for key, addition in own.items():
            additions.setdefault(key, []).append(addition)
        uses.append(_use(adapter, fits, parts))
    for key, there in additions.items():
        _check_sum(there, weights[key], key)
    for key, there in additions.items():
        _add(there, weights[key])
    return tuple(uses)


def _read(one: Fit, strength: float) -> Iterator[tuple[tuple[str, str], Addition]]:
    """The tensors of a file by the weights that they change."""
    tensors = one.file.tensors
    silent = set()
    for change in one.changes:
        roles = {role: tensors[key] for role, key in change.keys.items()}
        if change.kind is not None:
            alpha, said = _alpha(one.file, change, roles)
            silent |= set() if said else {change.target.part}
            named = {role: value for role, value in roles.items() if role not in ("alpha", *BIASES)}
            yield (change.target.part, f"{change.target.module}.weight"), Addition(change.kind, named, alpha, strength)
        for role in (role for role in BIASES if role in roles):
            bias = {"diff": roles[role]}
            yield (change.target.part, f"{change.target.module}.bias"), Addition("diff", bias, 1.0, strength)
    if silent:
        logger.warning(
            "%s names no alpha for %s: it is used with alpha = rank, as other programs do",
            one.file.path,
            ", ".join(sorted(silent)),
        )


def _alpha(file: ComponentFile, change: Change, roles: Mapping[str, torch.Tensor]) -> tuple[float, bool]:
    """alpha / rank, by the file's alpha of this module, else by its config; and whether either of them says it."""
    config = file.configs.get(change.target.part, {})
    rank = rank_of(change.kind or "", change.shapes) if change.kind in SCALED else None
    if rank is None:
        return 1.0, True
    name, where = change.target.module, f"{file.path}: {change.keys.get('down', change.target.module)!r}"
    declared = _pattern(config.get("rank_pattern"), name, config.get("r", rank))
    if declared != rank:
        raise AdapterMismatch(f"{where} has rank {rank}, its config says {declared}")
    if "alpha" in roles:
        alpha = float(roles["alpha"].float())
        if not math.isfinite(alpha) or alpha == 0:
            raise WeightsInvalid(f"{file.path}: {change.keys['alpha']!r} is {alpha}; train or fetch it again")
    else:
        alpha = float(_pattern(config.get("alpha_pattern"), name, config.get("lora_alpha", rank)))
    return alpha / (rank**0.5 if config.get("use_rslora") else rank), "alpha" in roles or "lora_alpha" in config


def _pattern(patterns: Mapping[str, float] | None, name: str, default: float) -> float:
    """What PEFT would look up: the first pattern that matches the end of the name."""
    from peft.utils.other import get_pattern_key

    return (patterns or {}).get(get_pattern_key(list(patterns or {}), name), default)


def _check_numbers(own: Mapping[tuple[str, str], Addition], weights: Weights, adapter: Adapter) -> None:
    """Numbers are looked at as they are computed with: fp8 and others become fp32 first."""
    changes = False
    for (part, key), addition in own.items():
        for role, tensor in addition.tensors.items():
            if not bool(tensor.float().isfinite().all()):
                raise WeightsInvalid(
                    f"{adapter.path}: {role} of {part}.{key} holds numbers that are not finite; train or fetch it again"
                )
        changes = changes or bool(_difference(addition, weights[part, key]).any())
    if not changes and adapter.strength:
        logger.warning("%s changes nothing: all its differences are zero; was it trained?", adapter.source)


def _difference(addition: Addition, weight: torch.Tensor) -> torch.Tensor:
    import torch

    with torch.no_grad():
        tensors = {role: value.to(weight.device, torch.float32) for role, value in addition.tensors.items()}
        return addition.strength * difference(addition.kind, tensors, weight.float(), addition.scale)


def _sum(additions: Sequence[Addition], weight: torch.Tensor) -> torch.Tensor:
    """The weight with all that is added to it, in its own number format."""
    import torch

    with torch.no_grad():
        changed = weight.float()
        for change in [_difference(addition, weight) for addition in additions]:
            changed = changed + change
        return changed.to(weight.dtype)


def _check_sum(additions: Sequence[Addition], weight: torch.Tensor, key: tuple[str, str]) -> None:
    if not bool(_sum(additions, weight).isfinite().all()):
        kind = str(weight.dtype).removeprefix("torch.")
        raise WeightsInvalid(
            f"{'.'.join(key)}: with the LoRA its numbers are beyond {kind}; use less strength or another precision"
        )


def _add(additions: Sequence[Addition], weight: torch.Tensor) -> None:
    import torch

    with torch.no_grad():
        weight.copy_(_sum(additions, weight))


def _use(adapter: Adapter, fits: Sequence[Fit], parts: Mapping[str, Any]) -> LoraUse:
    """What a LoRA changed, told in the log and kept for the report."""
    changed = [change.target for one in fits for change in one.changes]
    modules = {part: (sum(target.part == part for target in changed), _layers(parts[part])) for part in parts}
    unused = tuple(trigger for one in fits for trigger in one.embeddings)
    use = LoraUse(
        source=adapter.source,
        fingerprint=adapter.fingerprint,
        strength=adapter.strength,
        role=adapter.role,
        modules=modules,
        unused=unused,
    )
    logger.info("LoRA %s", use)
    if unused:
        logger.warning(
            "%s: its embeddings (%s) are not used, only its LoRA: those words mean nothing new in prompts",
            adapter.source,
            ", ".join(unused),
        )
    return use


def _layers(module: Any) -> int:
    """How many layers of the module have weights that a LoRA may change."""
    from torch import nn

    return sum(hasattr(layer, "weight") and not isinstance(layer, nn.Embedding) for layer in module.modules())
