"""From a component's folder or hub repository to one model, checked file by file before anything is built.

The libraries answer a missing tensor with random weights and a log line, and a truncated file with a page of text.
Here both are `WeightsInvalid`, in one line that names the file and the way out.
"""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.bases.fingerprints import component_fingerprint, with_vae
from models.bases.hub import fetch
from models.bases.layouts import PICKLE, choose_weights, read_json, variant_of
from models.diffusion.requests import PainterSetup
from models.errors import InputError, OutOfMemory, WeightsInvalid
from models.profiles import Precision, Profile
from models.sources import Component

if TYPE_CHECKING:
    import torch

REMEDY = "delete it and fetch the weights again"
OUT_OF_MEMORY = "{}: no memory left on {} to load it; close what else uses it, or name another device"


def torch_dtype(precision: Precision) -> torch.dtype:
    """The torch number format of that name."""
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def check_device(device: str) -> None:
    """Refuse a device that this machine, or this build of torch, does not have.

    Raises:
        InputError: names the device and those there are.
    """
    import torch

    kind, _, index = device.partition(":")
    gpus = torch.cuda.device_count()
    has = {"cpu": True, "cuda": int(index or 0) < gpus, "mps": torch.backends.mps.is_available()}
    if not has.get(kind, False):
        there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(gpus)), *(["mps"] if has["mps"] else [])])
        raise InputError(f"device {device!r} is not on this machine; there is: {there}")


def read_header(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Key -> (number format, shape) of a safetensors file, whose header must match its length.

    Raises:
        WeightsInvalid: missing, truncated or of another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as opened:
            slices = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118  (it is no mapping)
            return {key: (part.get_dtype(), tuple(part.get_shape())) for key, part in slices.items()}
    except FileNotFoundError:
        raise WeightsInvalid(f"{file}: missing; fetch the weights again") from None
    except (SafetensorError, OSError) as error:
        raise WeightsInvalid(f"{file}: truncated or not a safetensors file ({first_line(error)}); {REMEDY}") from error


def read_model(cls: Any, folder: Path, component: Component, dtype: torch.dtype, device: str) -> Any:
    """One model of `cls` from `folder`, in evaluation mode, read straight onto `device`.

    A component that says it is pickled is read with torch's `weights_only`, which runs no code (transformers' own way).

    Args:
        cls: a model class of diffusers or transformers.
        folder: holds its config.json and weights.
        component: says which variant of the files to take.
        dtype: what the weights become, whatever the file holds.
        device: a torch device.

    Raises:
        WeightsInvalid: a file is missing, broken, not safetensors, or of another class or shape.
        OutOfMemory: the model does not fit.
    """
    _check_class(cls.__name__, folder)
    weights = _check_files(folder, component)
    try:
        model, info = cls.from_pretrained(
            folder,
            dtype=dtype,
            device_map={"": device},
            variant=variant_of(weights[0]),
            use_safetensors=weights[0] != PICKLE,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(OUT_OF_MEMORY.format(folder, device)) from error
        if isinstance(error, NotImplementedError):
            # What was not in the files has no numbers ("meta tensor"), and can't be moved to the device.
            raise WeightsInvalid(f"{folder}: tensors are missing in its safetensors; {REMEDY}") from error
        if isinstance(error, (OSError, ValueError, RuntimeError)):
            raise WeightsInvalid(f"{folder}: {first_line(error)}; {REMEDY}") from error
        raise
    missing = sorted(info["missing_keys"])
    if missing:
        raise WeightsInvalid(f"{folder}: {len(missing)} tensors are missing, first {missing[0]!r}; {REMEDY}")
    return model.requires_grad_(False).eval()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch ran out of memory, on a GPU or on the host."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and ("not enough memory" in str(error) or "t allocate memory" in str(error))


def give_memory_back() -> None:
    """Free what nobody holds any more, on the host and on the GPUs."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def first_line(error: BaseException) -> str:
    """A library's error as one short line."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _check_class(wanted: str, folder: Path) -> None:
    config = read_json(folder / "config.json")
    holds = [config["_class_name"]] if "_class_name" in config else config.get("architectures") or []
    if wanted not in holds:
        raise WeightsInvalid(f"{folder / 'config.json'}: holds {', '.join(holds) or 'no class'}, needed {wanted}")


def _check_files(folder: Path, component: Component) -> list[str]:
    """Names of the weight files that are read."""
    there = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    weights = choose_weights(there, component.variant, pickled=component.pickled)
    if not weights:
        others = sorted(name for name in there if name.endswith((".bin", ".pt", ".ckpt")))
        found = f" ({others[0]} is a pickle and is not read)" if others else ""
        raise WeightsInvalid(f"{folder}: no safetensors file{found}")
    for name in weights:
        if name != PICKLE:
            read_header(folder / name)
    return weights


def fingerprints(setup: PainterSetup) -> dict[str, str | None]:
    """What tells the setup's base, ControlNet (None where there is none) and CLIP from any others."""
    profile = setup.profile
    with ThreadPoolExecutor() as threads:
        base = threads.submit(base_fingerprint, profile)
        clip = threads.submit(_fingerprint, profile.clip)
        controlnet = threads.submit(_fingerprint, profile.controlnet) if setup.with_controlnet else None
        return {
            "base": base.result(),
            "controlnet": None if controlnet is None else controlnet.result(),
            "clip": clip.result(),
        }


def base_fingerprint(profile: Profile) -> str:
    """What tells the profile's base, with the VAE that it paints by, from any other."""
    return with_vae(_fingerprint(profile.base), None if profile.vae is None else _fingerprint(profile.vae))


def _fingerprint(component: Component) -> str:
    return component_fingerprint(component, fetch(component))
