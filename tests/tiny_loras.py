"""One random LoRA for the tiny SDXL, in every layout that is read, and what the base's weights must become by it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import pipeline

from models.records import Adapter

RANK, ALPHA = 4, 2
"""Unequal on purpose: a reader that takes alpha for rank shows."""

Tensors = dict[str, dict[str, torch.Tensor]]
PARTS = ("unet", "text_encoder", "text_encoder_2")


@pytest.fixture(scope="session")
def base() -> Any:
    return pipeline()


@pytest.fixture(scope="session")
def lora(base: Any) -> Tensors:
    return lora_by_part(base)


@pytest.fixture
def parts(base: Any) -> dict[str, Any]:
    """A fresh copy of the base's modules, to be changed."""
    return {part: copy.deepcopy(getattr(base, part)) for part in PARTS}


def weights(parts: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {f"{part}.{name}": value.clone() for part in PARTS for name, value in parts[part].state_dict().items()}


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], tolerance: float = 0.0) -> None:
    assert first.keys() == second.keys()
    apart = {name: float((first[name] - second[name]).abs().max()) for name in first}
    assert max(apart.values()) <= tolerance, {name: value for name, value in apart.items() if value > tolerance}


def expected_weights(parts: dict[str, Any], lora: Tensors, scale: float) -> dict[str, torch.Tensor]:
    """W + scale * up @ down, worked out from the paper's formula alone."""
    changed = weights(parts)
    for part, tensors in lora.items():
        for key, down in tensors.items():
            if key.endswith("lora_A.weight"):
                name = key.removesuffix(".lora_A.weight")
                changed[f"{part}.{name}.weight"] += scale * tensors[f"{name}.lora_B.weight"] @ down
    return changed


def adapter(path: Path) -> Adapter:
    """The record of a LoRA on disk."""
    return Adapter(path=str(path), fingerprint=str(path), source=path.name)


def lora_tensors(module: Any, targets: tuple[str, ...], seed: int = 1) -> dict[str, torch.Tensor]:
    """Random PEFT tensors for every submodule of `module` whose name ends in one of `targets`."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, layer in module.named_modules():
        if name.endswith(targets):
            outputs, inputs, *window = layer.weight.shape
            tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, inputs, *window, generator=generator) * 0.3
            ones = [1] * len(window)
            tensors[f"{name}.lora_B.weight"] = torch.randn(outputs, RANK, *ones, generator=generator) * 0.3
    return tensors


def lora_by_part(base: Any) -> dict[str, dict[str, torch.Tensor]]:
    """The same random LoRA that every layout below holds, by part of the base."""
    return {
        "unet": lora_tensors(base.unet, ("to_q", "to_v")),
        "text_encoder": lora_tensors(base.text_encoder, ("q_proj", "v_proj"), seed=2),
        "text_encoder_2": lora_tensors(base.text_encoder_2, ("q_proj", "v_proj"), seed=3),
    }


def save_checkpoint(folder: Path, parts: dict[str, dict[str, torch.Tensor]]) -> Path:
    """The document's layout: three folders, each a PEFT adapter of rank 4 and alpha 2."""
    names = {"unet": "unet_lora", "text_encoder": "text_encoder_one_lora", "text_encoder_2": "text_encoder_two_lora"}
    for part, tensors in parts.items():
        target = folder / names[part]
        target.mkdir(parents=True)
        config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": [], "bias": "none"}
        (target / "adapter_config.json").write_text(json.dumps(config))
        save_file(
            {f"base_model.model.{key}": value for key, value in tensors.items()}, target / "adapter_model.safetensors"
        )
    return folder


def save_kohya(file: Path, parts: dict[str, dict[str, torch.Tensor]], alpha: float | None = ALPHA) -> Path:
    """One file as kohya's sd-scripts name their keys; `text_model.` is always in its text encoders' names."""
    prefixes = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
    tensors: dict[str, torch.Tensor] = {}
    for part, own in parts.items():
        for key, value in own.items():
            name, _, half = key.partition(".lora_")
            if part != "unet":
                name = "text_model." + name.removeprefix("text_model.")
            stem = f"{prefixes[part]}_{name.replace('.', '_')}"
            tensors[f"{stem}.lora_{'down' if half[0] == 'A' else 'up'}.weight"] = value
            if alpha is not None:
                tensors[f"{stem}.alpha"] = torch.tensor(float(alpha))
    save_file(tensors, file)
    return file


def save_diffusers(file: Path, parts: dict[str, dict[str, torch.Tensor]], *, metadata: bool = True) -> Path:
    """One file as diffusers' `save_lora_weights` writes it."""
    config = {"r": RANK, "lora_alpha": ALPHA, "target_modules": ["to_q", "to_v", "q_proj", "v_proj"]}
    tensors = {f"{part}.{key}": value for part, own in parts.items() for key, value in own.items()}
    named = {f"{part}.{key}": value for part in parts for key, value in config.items()}
    save_file(
        tensors, file, {"lora_adapter_metadata": json.dumps(named), "format": "pt"} if metadata else {"format": "pt"}
    )
    return file


def as_checkpoint(folder: Path, lora: Tensors) -> Path:
    return save_checkpoint(folder / "checkpoint", lora)


def as_kohya(folder: Path, lora: Tensors) -> Path:
    return save_kohya(folder / "kohya.safetensors", lora)


def as_diffusers(folder: Path, lora: Tensors) -> Path:
    return save_diffusers(folder / "pytorch_lora_weights.safetensors", lora)


LAYOUTS = pytest.mark.parametrize("save", [as_checkpoint, as_kohya, as_diffusers])
