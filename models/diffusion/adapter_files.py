"""LoRA files as they are found: which files, what their headers say, and their tensors.

    unet_lora, text_encoder_one_lora, text_encoder_two_lora    a PEFT adapter of each part
    adapter_config.json and adapter_model.safetensors          a PEFT adapter of the UNet
    anything.safetensors                                       of diffusers, kohya, OneTrainer, LyCORIS or ComfyUI

Alpha is where LoRAs go wrong silently: a file that does not say it is read by all programs as alpha = rank, so one
trained at rank 64 and alpha 32 then acts at twice its strength. It is looked for in PEFT's config, in the file's
`.alpha` keys and in its metadata.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.bases.layouts import read_json
from models.diffusion.adapter_config import check_config
from models.diffusion.adapter_keys import PARTS, PEFT_ROOT, UNET, Shapes
from models.diffusion.weights import REMEDY, first_line, read_header
from models.errors import WeightsInvalid
from models.storage.adapters import ADAPTER_CONFIG, ADAPTER_FOLDERS, ADAPTER_WEIGHTS

if TYPE_CHECKING:
    import torch

LAYOUT = dict(zip(ADAPTER_FOLDERS, PARTS, strict=True))
"""Folder of a checkpoint -> part of the base."""
FOLDERS = dict(zip(PARTS, ADAPTER_FOLDERS, strict=True))
"""Part of the base -> its folder in a checkpoint."""
_METADATA = "lora_adapter_metadata"
_NUMBERS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


@dataclass(frozen=True)
class ComponentFile:
    """A file of a LoRA; only its header is read before its tensors are asked for."""

    path: Path
    configs: Mapping[str, Mapping[str, Any]]
    """Part -> PEFT's LoraConfig as a mapping, where the file has one."""
    part: str | None = None
    """The part of the base that all of it is for; None where its keys say so."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The config of a file that is for one part."""
        return self.configs[self.part or UNET]

    @cached_property
    def shapes(self) -> Shapes:
        """Key -> shape, for a PEFT adapter without `base_model.model.`.

        Raises:
            WeightsInvalid: missing, broken, unsafe, or of whole numbers.
        """
        if self.path.suffix == ".bin":
            return {key: tuple(value.shape) for key, value in self.tensors.items()}
        header = read_header(self.path)
        for key, (kind, _) in header.items():
            if kind not in _NUMBERS and not key.endswith(".alpha"):
                raise WeightsInvalid(f"{self.path}: {key!r} holds {kind}, no fractions; export it in fp16")
        return {self._plain(key): shape for key, (_, shape) in header.items()}

    @cached_property
    def tensors(self) -> Mapping[str, torch.Tensor]:
        """Key -> tensor as it lies in the file, on the CPU.

        Raises:
            WeightsInvalid: missing, broken or unsafe.
        """
        read = _load_pickle if self.path.suffix == ".bin" else _load_safetensors
        return {self._plain(key): value for key, value in read(self.path).items()}

    def _plain(self, key: str) -> str:
        return key.removeprefix(PEFT_ROOT) if self.part else key


def open_adapter(path: Path) -> list[ComponentFile]:
    """The files of the LoRA at this path, with what configurations say.

    Raises:
        WeightsInvalid: a missing or broken file.
        AdapterMismatch: a configuration that would not be honoured.
    """
    if any((path / folder).is_dir() for folder in LAYOUT):
        files = list(read_folder(path).values())
    else:
        file = _only_file(path)
        files = [_read_peft(file.parent, UNET) if _is_peft(file) else ComponentFile(file, _configs_within(file))]
    for opened in files:
        for config in opened.configs.values():
            check_config(config, str(opened.path))
    return files


def read_folder(path: Path) -> dict[str, ComponentFile]:
    """A checkpoint of up to three PEFT adapters, by part. The UNet's must be there.

    Raises:
        WeightsInvalid: a missing, broken or unsafe file.
    """
    if not (path / "unet_lora").is_dir():
        raise WeightsInvalid(f"{path / 'unet_lora'}: missing; a checkpoint has {', '.join(LAYOUT)}")
    return {part: _read_peft(path / name, part) for name, part in LAYOUT.items() if (path / name).is_dir()}


def _read_peft(folder: Path, part: str) -> ComponentFile:
    config = read_json(folder / ADAPTER_CONFIG)
    missing = [name for name in ("r", "lora_alpha") if name not in config and config.get("peft_type", "LORA") == "LORA"]
    if missing:
        raise WeightsInvalid(f"{folder / ADAPTER_CONFIG}: says no {', '.join(missing)}")
    safe, pickled = (folder / name for name in ADAPTER_WEIGHTS)
    return ComponentFile(safe if safe.is_file() or not pickled.is_file() else pickled, {part: config}, part)


def _is_peft(file: Path) -> bool:
    return file.name in ADAPTER_WEIGHTS and (file.parent / ADAPTER_CONFIG).is_file()


def _only_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise WeightsInvalid(f"{path}: no such file or folder")
    peft = [path / name for name in ADAPTER_WEIGHTS if (path / name).is_file() and _is_peft(path / name)]
    files = peft[:1] or sorted(file for file in path.iterdir() if file.suffix.lower() == ".safetensors")
    if len(files) != 1:
        raise WeightsInvalid(
            f"{path}: expected {', '.join(LAYOUT)} or one safetensors file, found {len(files)} safetensors files"
        )
    return files[0]


def _configs_within(file: Path) -> dict[str, dict[str, Any]]:
    """What diffusers keeps of PEFT's configurations in a file's metadata, by part."""
    from safetensors import safe_open

    read_header(file)
    with safe_open(file, framework="np") as opened:
        text = (opened.metadata() or {}).get(_METADATA)
    if text is None:
        return {}
    try:
        told = json.loads(text)
    except ValueError as error:
        raise WeightsInvalid(f"{file}: its metadata is not readable ({first_line(error)})") from error
    if not isinstance(told, dict):
        raise WeightsInvalid(f"{file}: its {_METADATA} is no object")
    by_part = {
        part: {key.removeprefix(f"{part}."): value for key, value in told.items() if key.startswith(f"{part}.")}
        for part in PARTS
    }
    return {part: config for part, config in by_part.items() if config}


def _load_safetensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(file, device="cpu")
    except (SafetensorError, OSError) as error:
        raise WeightsInvalid(f"{file}: truncated or not a safetensors file ({first_line(error)}); {REMEDY}") from error
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
