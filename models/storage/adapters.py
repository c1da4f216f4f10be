"""LoRAs on local disk: their layouts, and checks that their files are complete and intact.

A LoRA's source is `s3://bucket/prefix`, a folder or a .safetensors file. Local ones are used in place;
`models/s3/adapters.py` downloads the others into a cache folder. The accepted layouts are:

    unet_lora/  text_encoder_one_lora/  text_encoder_two_lora/     adapter_config.json and adapter_model.safetensors
                                                                   (or adapter_model.bin) in each
    adapter_config.json, adapter_model.safetensors                 a PEFT adapter of the UNet alone
    pytorch_lora_weights.safetensors                               or a single .safetensors file of any name
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from models.errors import InputError, ObjectNotFound, WeightsInvalid
from models.storage.files import CALIBRATION, check_file, list_names

ADAPTER_FOLDERS = ("unet_lora", "text_encoder_one_lora", "text_encoder_two_lora")
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
SINGLE_FILE = "pytorch_lora_weights.safetensors"
EXPECTED = (
    f"the folders {', '.join(ADAPTER_FOLDERS)} with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS[0]} in each, or {SINGLE_FILE}"
)


def calibration_file(path: Path) -> Path:
    """Return where the calibration of the LoRA at this path is, if it has one."""
    return path / CALIBRATION if path.is_dir() else path.with_suffix(f".{CALIBRATION}")


def is_s3(source: str) -> bool:
    """Whether the source is an S3 address, valid or not."""
    return source.lstrip().startswith("s3:")


def local_path(source: str) -> Path:
    """Return the absolute path of a local source.

    Raises:
        InputError: the source is a URL.
    """
    scheme, separator, _ = source.partition("://")
    if separator:
        raise InputError(
            f"{scheme}://… is no source of a LoRA; valid: s3://bucket/prefix, a folder, a .safetensors file"
        )
    return Path(source).expanduser().absolute()


def locate_adapter(root: Path) -> Path:
    """Return the path of the LoRA below `root`, after checks: its folder, or its single file.

    Raises:
        ObjectNotFound: the path or one of the LoRA's files does not exist.
        WeightsInvalid: a file is broken, or there are several candidates.
    """
    if root.is_file():
        if root.suffix.lower() != ".safetensors":
            raise WeightsInvalid(f"{root}: a single LoRA file must be .safetensors; expected {EXPECTED}")
        check_file(root)
        return root
    if not root.is_dir():
        raise ObjectNotFound(f"{root}: no such file or folder; expected {EXPECTED}")
    names = adapter_files(list_names(root), str(root))
    for name in names:
        check_file(root / name)
    return root / names[0] if len(names) == 1 else root


def with_calibration(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the names that make up the LoRA, as `adapter_files`, and its calibration if there is one."""
    present = tuple(names)
    chosen = adapter_files(present, where)
    single = Path(chosen[0]).with_suffix(f".{CALIBRATION}").name if len(chosen) == 1 else CALIBRATION
    return (*chosen, *(name for name in present if name == single))


def adapter_files(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Return those of the names that make up the LoRA.

    Raises:
        ObjectNotFound: there is no LoRA, or one of its files is missing; the message lists what is expected.
        WeightsInvalid: several .safetensors files, and none has diffusers' default name.
    """
    present = set(names)
    if any(name.split("/")[0] in ADAPTER_FOLDERS for name in present):
        return _three_folders(present, where)
    singles = sorted(name for name in present if re.fullmatch(r"[^/.][^/]*\.safetensors", name, re.IGNORECASE))
    if SINGLE_FILE in singles:
        return (SINGLE_FILE,)
    if ADAPTER_CONFIG in present and (weights := [name for name in ADAPTER_WEIGHTS if name in present]):
        return (ADAPTER_CONFIG, weights[0])
    if not singles:
        pickles = [name for name in sorted(present) if re.fullmatch(r"[^/]+\.(pt|pth|ckpt|bin)", name, re.IGNORECASE)]
        found = f" ({pickles[0]} is a pickle: save it as .safetensors)" if pickles else _below(present)
        raise ObjectNotFound(f"{where}: no LoRA here{found}; expected {EXPECTED}")
    if len(singles) > 1:
        raise WeightsInvalid(f"{where}: several LoRA files ({', '.join(singles)}); name one of them")
    return (singles[0],)


def _below(present: Iterable[str], most: int = 8) -> str:
    """Return a part of a message that names the subfolders with a LoRA, such as checkpoints; "" if there are none."""
    parts = [name.split("/") for name in present]
    pieces = {"/".join(path[:-2]) for path in parts if len(path) > 2 and path[-2] in ADAPTER_FOLDERS}
    singles = {"/".join(path[:-1]) for path in parts if len(path) > 1 and path[-1].endswith(".safetensors")}
    found = sorted(
        pieces or singles, key=lambda name: [int(part) if part.isdigit() else 0 for part in re.split(r"(\d+)", name)]
    )
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f" itself, but in its folders {', '.join(found[:most])}{more}; name one of them" if found else ""


def _three_folders(present: set[str], where: str) -> tuple[str, ...]:
    chosen: list[str] = []
    missing: list[str] = []
    for folder in ADAPTER_FOLDERS:
        alternatives = [f"{folder}/{name}" for name in ADAPTER_WEIGHTS]
        weights = next((name for name in alternatives if name in present), alternatives[0])
        for name in (f"{folder}/{ADAPTER_CONFIG}", weights):
            (chosen if name in present else missing).append(name)
    if missing:
        raise ObjectNotFound(f"{where}: missing {', '.join(missing)}; expected {EXPECTED}")
    return tuple(chosen)
