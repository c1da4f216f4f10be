"""One LoRA for the tiny SDXL as other programs write it, and what the base's weights must become by it.

Every layout is made from the same pairs (`tiny_loras.lora_by_part`), so that all of them must come to the same weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tiny_loras import ALPHA, RANK, Tensors, as_checkpoint, as_diffusers, as_kohya

Flat = dict[str, torch.Tensor]

STABILITY = {
    "conv_in": "input_blocks.0.0",
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
"""The tiny UNet's blocks by Stability's numbers, written down by hand: two levels of one layer each."""
RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}


def draw(*shape: int) -> torch.Tensor:
    """Random numbers, the same for the same shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def stability(module: str) -> str:
    """A module of the tiny UNet by Stability's numbers."""
    block = max((block for block in STABILITY if module == block or module.startswith(f"{block}.")), key=len)
    rest = module.removeprefix(block).removeprefix(".")
    return ".".join(part for part in (STABILITY[block], RESNET.get(rest, rest)) if part)


def pairs(lora: Tensors, part: str) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """(module, down, up) of one part."""
    for key, down in lora[part].items():
        if key.endswith(".lora_A.weight"):
            module = key.removesuffix(".lora_A.weight")
            yield module.removeprefix("text_model."), down, lora[part][f"{module}.lora_B.weight"]


def save(folder: Path, tensors: Flat, metadata: dict[str, str] | None = None, name: str = "a.safetensors") -> Path:
    """The tensors as a file; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, folder / name, metadata)
    return folder / name


def kohya(folder: Path, lora: Tensors) -> Flat:
    """The tensors of a kohya file, to be changed."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: Flat = load_file(as_kohya(folder, lora))
    return tensors


def renamed(tensors: Flat, change: Callable[[str], str]) -> Flat:
    return {change(key): value for key, value in tensors.items()}


def unet_flat(lora: Tensors, chosen: Callable[[str], bool] = lambda _: True) -> Flat:
    """The UNet's pairs as kohya's older files have them, by Stability's numbers."""
    flat: Flat = {}
    for module, down, up in pairs(lora, "unet"):
        if chosen(module):
            stem = "lora_unet_" + stability(module).replace(".", "_")
            alpha = torch.tensor(float(ALPHA))
            flat |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": alpha}
    return flat


def both_spellings(folder: Path, lora: Tensors) -> Path:
    """Half of the UNet by diffusers' names and half by Stability's, as merging scripts leave it."""
    tensors = {key: value for key, value in kohya(folder, lora).items() if "unet_down_blocks" not in key}
    return save(folder, tensors | unet_flat(lora, lambda module: module.startswith("down_blocks")))


def stability_names(folder: Path, lora: Tensors) -> Path:
    tensors = {key: value for key, value in kohya(folder, lora).items() if "unet" not in key}
    return save(folder, tensors | unet_flat(lora), {"ss_network_module": "networks.lora"})


def compiled(folder: Path, lora: Tensors) -> Path:
    """Trained through torch.compile."""
    return save(folder, renamed(kohya(folder, lora), lambda key: key.replace("unet_", "unet__orig_mod_")))


def alpha_as_vector(folder: Path, lora: Tensors) -> Path:
    return save(
        folder, {key: value.reshape(-1) if not value.dim() else value for key, value in kohya(folder, lora).items()}
    )


def padded_ranks(folder: Path, lora: Tensors) -> Path:
    """Every second module of a larger rank, its alpha with it."""
    tensors = kohya(folder, lora)
    for key in [key for key in tensors if key.endswith("to_q.lora_down.weight")]:
        up = key.replace("lora_down", "lora_up")
        tensors[key] = torch.cat([tensors[key], torch.zeros(3, tensors[key].shape[1])])
        tensors[up] = torch.cat([tensors[up], torch.zeros(tensors[up].shape[0], 3)], 1)
        tensors[key.replace("lora_down.weight", "alpha")] = torch.tensor(ALPHA / RANK * (RANK + 3))
    return save(folder, tensors)


def embeddings_beside(folder: Path, lora: Tensors) -> Path:
    """OneTrainer's file with an embedding that was trained beside the LoRA."""
    embeddings = {"bundle_emb.aldar.clip_l": torch.zeros(2, 16), "bundle_emb.aldar.clip_g": torch.zeros(2, 16)}
    return save(folder, kohya(folder, lora) | embeddings)


def comfy(folder: Path, lora: Tensors) -> Path:
    """ComfyUI's names: Stability's numbers for the UNet, letters for the text encoders; alpha is folded in."""
    tensors: Flat = {}
    for part, prefix in (("text_encoder", "clip_l"), ("text_encoder_2", "clip_g")):
        for module, down, up in pairs(lora, part):
            stem = f"text_encoders.{prefix}.transformer.text_model.{module}"
            tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up * ALPHA / RANK}
    for module, down, up in pairs(lora, "unet"):
        stem = f"diffusion_model.{stability(module)}"
        tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up * ALPHA / RANK}
    return save(folder, tensors)


def first_diffusers(folder: Path, lora: Tensors) -> Path:
    """Attention processors, as the first releases of diffusers saved them; alpha is folded in."""
    tensors: Flat = {}
    for part in lora:
        for module, down, up in pairs(lora, part):
            attention, _, leaf = module.rpartition(".")
            place = f"{part}.{attention}.processor" if part == "unet" else f"{part}.text_model.{attention}"
            stem = f"{place}.{leaf if part == 'unet' else 'to_' + leaf[0]}_lora"
            tensors |= {f"{stem}.down.weight": down, f"{stem}.up.weight": up * ALPHA / RANK}
    return save(folder, tensors, name="pytorch_lora_weights.safetensors")


def alphas_beside_diffusers(folder: Path, lora: Tensors) -> Path:
    """diffusers' keys, and an alpha beside every pair instead of metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = load_file(as_diffusers(folder, lora))
    alphas = {key.replace("lora_A.weight", "alpha"): torch.tensor(float(ALPHA)) for key in tensors if "lora_A" in key}
    return save(folder, tensors | alphas)


def named_adapter(folder: Path, lora: Tensors) -> Path:
    """PEFT's keys with the adapter's name, which some scripts leave in them."""
    path = as_checkpoint(folder, lora)
    for file in path.glob("*/adapter_model.safetensors"):
        save_file(renamed(load_file(file), lambda key: key.replace(".weight", ".default.weight")), file)
    return path


def upper_case(folder: Path, lora: Tensors) -> Path:
    return save(folder, kohya(folder / "made", lora), name="A.SAFETENSORS")


def linked(folder: Path, lora: Tensors) -> Path:
    """A hub's cache: the file is a link to a blob without a suffix."""
    blob = save(folder / "blobs", kohya(folder / "made", lora)).rename(folder / "blobs" / "0f3a")
    link = folder / "snapshots" / "pytorch_lora_weights.safetensors"
    link.parent.mkdir()
    link.symlink_to(blob)
    return link


SAME = (
    stability_names,
    both_spellings,
    compiled,
    alpha_as_vector,
    padded_ranks,
    embeddings_beside,
    comfy,
    first_diffusers,
    alphas_beside_diffusers,
    named_adapter,
    upper_case,
    linked,
)
"""Layouts that must come to the very same weights."""


def peft(folder: Path, lora: Tensors, **changes: Any) -> Path:
    """A checkpoint whose configurations say something else besides."""
    path = as_checkpoint(folder, lora)
    for file in path.glob("*/adapter_config.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return path


def wide_lora(module: torch.nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A LoRA of every layer of a UNet, convolutions too: module -> (down, up)."""
    generator = torch.Generator().manual_seed(7)
    found = {}
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            outputs, *inputs = layer.weight.shape
            ones = [1] * (len(inputs) - 1)
            down = torch.randn(2, *inputs, generator=generator)
            found[name] = (down, torch.randn(outputs, 2, *ones, generator=generator))
    return found


def flat_name(module: str) -> str:
    """A module of the UNet as kohya's files have it."""
    return "lora_unet_" + re.sub(r"\.", "_", module)
