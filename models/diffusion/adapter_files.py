"""LoRA files as they are found, brought to one form: PEFT keys per part of the base, with their alphas.

Alpha is where LoRAs go wrong silently: a file that does not say it is read by the libraries as alpha = rank, so one
trained at rank 64 and alpha 32 then acts at twice its strength. It is looked for in the adapter's config, in the file's
`.alpha` keys and in its metadata; where there is none, the log says what was assumed.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.diffusion.weights import first_line, read_json, tensor_names
from models.errors import AdapterMismatch, WeightsInvalid

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("models.diffusion")

LAYOUT = {
    "unet_lora": "unet",
    "text_encoder_one_lora": "text_encoder",
    "text_encoder_two_lora": "text_encoder_2",
}
"""Folder of a checkpoint -> part of the base."""
PARTS = tuple(LAYOUT.values())
_PEFT_ROOT = "base_model.model."


@dataclass(frozen=True)
class ComponentFile:
    """One part's LoRA as it was read."""

    path: Path
    """For messages."""
    tensors: Mapping[str, torch.Tensor]
    """`<module>.lora_A.weight` (down) and `<module>.lora_B.weight` (up)."""
    config: Mapping[str, Any]
    """PEFT's LoraConfig as a mapping: r, lora_alpha, rank_pattern, alpha_pattern, use_rslora."""
    alphas: Mapping[str, float] = field(default_factory=dict)
    """Alpha of single modules, where the file has its own."""


def read_folder(path: Path) -> dict[str, ComponentFile]:
    """A checkpoint of up to three PEFT adapters, by part. The UNet's must be there.

    Raises:
        WeightsInvalid: a missing, broken or unsafe file.
    """
    if not (path / "unet_lora").is_dir():
        raise WeightsInvalid(f"{path / 'unet_lora'}: missing; a checkpoint has {', '.join(LAYOUT)}")
    return {part: _read_peft(path / name) for name, part in LAYOUT.items() if (path / name).is_dir()}


def _read_peft(folder: Path) -> ComponentFile:
    config = read_json(folder / "adapter_config.json")
    missing = [name for name in ("r", "lora_alpha") if name not in config]
    if missing:
        raise WeightsInvalid(f"{folder / 'adapter_config.json'}: says no {', '.join(missing)}")
    safe, pickled = folder / "adapter_model.safetensors", folder / "adapter_model.bin"
    if safe.is_file() or not pickled.is_file():
        tensor_names(safe)
        path, tensors = safe, _load_safetensors(safe)
    else:
        path, tensors = pickled, _load_pickle(pickled)
    return ComponentFile(path, {key.removeprefix(_PEFT_ROOT): value for key, value in tensors.items()}, config)


def _load_safetensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = load_file(file, device="cpu")
    return tensors


def _load_pickle(file: Path) -> dict[str, torch.Tensor]:
    """Tensors from a pickle by torch's restricted reader, which runs no code from the file."""
    import torch

    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, OSError) as error:
        raise WeightsInvalid(
            f"{file}: holds more than tensors, or is broken; export it as adapter_model.safetensors"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise WeightsInvalid(f"{file}: holds more than tensors; export it as adapter_model.safetensors")
    return tensors


def read_single(path: Path, unet_config: Any) -> dict[str, ComponentFile]:
    """One safetensors file with the keys of diffusers or of kohya, by part.

    Args:
        path: the file, or a folder that holds just one.
        unet_config: the base UNet's config, by which kohya's block numbers are translated.

    Raises:
        WeightsInvalid: a missing, broken or unsafe file.
        AdapterMismatch: keys that belong to no part of an SDXL base.
    """
    file = _only_file(path)
    names = tensor_names(file)
    if any("dora_scale" in name or "lora_magnitude_vector" in name for name in names):
        raise AdapterMismatch(f"{file}: only plain LoRA is read, this is a DoRA")
    state, network_alphas, metadata = _convert(file, unet_config)
    state, own_alphas = _split_alphas(state)
    alphas = {**(network_alphas or {}), **own_alphas}
    if not alphas and not metadata:
        logger.warning("%s names no alpha: it is used with alpha = rank, as diffusers does", file)
    files = {
        part: ComponentFile(
            file,
            _to_peft(part, _below(part, state)),
            _below(part, metadata or {}),
            _alphas_by_module(part, _below(part, alphas)),
        )
        for part in PARTS
        if _below(part, state)
    }
    stray = [key for key in state if not key.startswith(tuple(f"{part}." for part in PARTS))]
    if stray or not files:
        raise AdapterMismatch(f"{file}: {stray[0]!r} belongs to no part of SDXL" if stray else f"{file}: it is empty")
    return files


def _only_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise WeightsInvalid(f"{path}: no such file or folder")
    files = sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        raise WeightsInvalid(
            f"{path}: expected {', '.join(LAYOUT)} or one safetensors file, found {len(files)} safetensors files"
        )
    return files[0]


def _convert(file: Path, unet_config: Any) -> tuple[dict[str, Any], dict[str, float] | None, dict[str, Any] | None]:
    """The file's tensors under diffusers' names, by diffusers' own reader, with alphas and metadata."""
    from diffusers import StableDiffusionXLPipeline

    try:
        state, alphas, metadata = StableDiffusionXLPipeline.lora_state_dict(
            str(file),
            unet_config=unet_config,
            use_safetensors=True,
            local_files_only=True,
            return_lora_metadata=True,
        )
    except json.JSONDecodeError as error:
        raise WeightsInvalid(f"{file}: its metadata is not readable ({first_line(error)})") from error
    except (ValueError, KeyError, IndexError) as error:
        # kohya's keys are taken apart by position: one without its partner or of another model ends here.
        raise AdapterMismatch(f"{file}: its keys are not those of an SDXL LoRA ({first_line(error)})") from error
    return state, alphas, metadata


def _split_alphas(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    weights = {key: value for key, value in state.items() if not key.endswith(".alpha")}
    return weights, {key: float(value) for key, value in state.items() if key.endswith(".alpha")}


def _below(part: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of one part, without its prefix."""
    return {key.removeprefix(f"{part}."): value for key, value in values.items() if key.startswith(f"{part}.")}


def _to_peft(part: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """diffusers' older spellings as PEFT's; keys of no known spelling stay, and are refused where they are used."""
    from diffusers.utils.state_dict_utils import (
        StateDictType,
        convert_state_dict_to_peft,
        convert_unet_state_dict_to_peft,
    )

    if part == "unet":
        return dict(convert_unet_state_dict_to_peft(state))
    # Named, because diffusers tells the oldest spelling by `to_out_lora`, which a LoRA of q and v alone does not have.
    for spelling in (StateDictType.DIFFUSERS_OLD, StateDictType.DIFFUSERS):
        state = convert_state_dict_to_peft(state, spelling)
    return dict(state)


def _alphas_by_module(part: str, alphas: Mapping[str, float]) -> dict[str, float]:
    """Alphas under the names that their modules have in PEFT's spelling."""
    # diffusers names an alpha after its weight, "….to_q_lora.down.weight.alpha", or after its module.
    weights = {key.removesuffix(".alpha"): alpha for key, alpha in alphas.items()}
    return {name.partition(".lora")[0]: alpha for name, alpha in _to_peft(part, weights).items()}
