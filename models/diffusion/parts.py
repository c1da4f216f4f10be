"""Reading of a base's models from a folder, a hub repository's cache, or a single file.

diffusers' converters read a single file with the configurations of the profile's layout. The weights are then counted:
every layer must be filled from the file, and every number of the file must go into a layer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.bases.compatibility import Config, Configs, find_base_problems
from models.bases.configurations import read_config, read_configs
from models.bases.hub import fetch, name_of
from models.bases.single_files import PREFIXES, left_over, read_header
from models.diffusion.weights import OUT_OF_MEMORY, REMEDY, first_line, is_out_of_memory, read_model
from models.errors import OutOfMemory, WeightsInvalid
from models.profiles import Profile
from models.sources import Component

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("models.diffusion")

_NO_WEIGHTS = ("position_ids", "logit_scale")
"""Endings of tensors in an encoder's file that are not weights of the model."""
_TRAINERS = ("loss.", "model_ema.")


def base_configs(profile: Profile) -> Configs:
    """Return the base's configurations, with the VAE's replaced if the profile names another VAE.

    Raises:
        WeightsInvalid: the base is not an SDXL text-to-image base.
        ConnectionFailed: the hub is out of reach.
    """
    fetch(profile.base)
    configs = dict(read_configs(profile.base, profile.layout))
    if profile.vae:
        configs["vae"] = read_config(profile.vae, "vae", profile.layout)
        configs["index"] = {**configs.get("index", {}), "vae": ["diffusers", "AutoencoderKL"]}
    for problem in find_base_problems(name_of(profile.base), configs):
        raise WeightsInvalid(problem)
    return configs


def vae_of(profile: Profile) -> Component:
    """Return the component from which the VAE is read."""
    return profile.vae or profile.base


def read_part(profile: Profile, name: str, dtype: torch.dtype, device: str) -> Any:
    """Return the unet, vae, text_encoder or text_encoder_2 of a profile, in evaluation mode, on `device`.

    Raises:
        WeightsInvalid: a file is missing, broken, or of another class or shape.
        OutOfMemory: the model does not fit.
    """
    component = vae_of(profile) if name == "vae" else profile.base
    place, cls = fetch(component), _class(name)
    if component.is_file:
        return _read_single(cls, name, place, Path(profile.layout), dtype, device)
    alone = component is profile.vae and (place / "config.json").is_file()
    return read_model(cls, place if alone else place / name, component, dtype, device)


def read_controlnet(profile: Profile, dtype: torch.dtype, device: str) -> Any:
    """Return the profile's ControlNet; raises as `read_part`."""
    component = profile.controlnet
    place, cls = fetch(component), _class("controlnet")
    if component.is_file:
        return _read_single(cls, "controlnet", place, Path(profile.layout), dtype, device)
    return read_model(cls, place, component, dtype, device)


def tokenizer_folder(profile: Profile, name: str) -> Path:
    """Return the folder of the base's tokenizer or tokenizer_2."""
    return (Path(profile.layout) if profile.base.is_file else fetch(profile.base)) / name


def _class(name: str) -> Any:
    import diffusers
    import transformers

    return {
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
        "controlnet": diffusers.ControlNetModel,
        "text_encoder": transformers.CLIPTextModel,
        "text_encoder_2": transformers.CLIPTextModelWithProjection,
    }[name]


def _read_single(cls: Any, part: str, file: Path, layout: Path, dtype: torch.dtype, device: str) -> Any:
    header = read_header(file)
    prefix = PREFIXES.get(part, "")
    names = [name for name in header.shapes if name.startswith(prefix)] or list(header.shapes)
    names = [name for name in names if not name.startswith(_TRAINERS)]
    if part == "unet" and (rest := list(left_over(header))):
        logger.warning("%s: %d of its tensors belong to no part of SDXL, first %s", file, len(rest), rest[0])
    beside = file.parent / "config.json"
    config = {"config": str(file.parent)} if not prefix and beside.is_file() else _configured(layout, part)
    try:
        model = _converted(cls, _tensors(file, names), config, dtype)
        _check_count(model, names, header.shapes, file, part)
        return model.to(device).requires_grad_(False).eval()
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(OUT_OF_MEMORY.format(file, device)) from error
        if isinstance(error, (OSError, ValueError, RuntimeError, KeyError, IndexError, TypeError)):
            raise WeightsInvalid(f"{file}: its {part} is not SDXL's ({first_line(error)}); {REMEDY}") from error
        raise


def _configured(layout: Path, part: str) -> dict[str, str]:
    return {"config": str(layout), "subfolder": part}


def _tensors(file: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in names}


def _converted(cls: Any, tensors: dict[str, torch.Tensor], config: dict[str, str], dtype: torch.dtype) -> Any:
    if hasattr(cls, "from_single_file"):
        return cls.from_single_file(tensors, **config, torch_dtype=dtype, local_files_only=True)
    # StableDiffusionXLPipeline.from_single_file calls this too; here it gets one part's tensors only.
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm

    return create_diffusers_clip_model_from_ldm(cls, tensors, **config, torch_dtype=dtype, local_files_only=True)


def _check_count(model: Any, names: list[str], shapes: Any, file: Path, part: str) -> None:
    import math

    missing = [name for name, weight in model.named_parameters() if weight.is_meta]
    if missing:
        raise WeightsInvalid(
            f"{file}: {len(missing)} tensors of its {part} are missing, first {missing[0]!r}; {REMEDY}"
        )
    given = sum(math.prod(shapes[name]) for name in names if not name.endswith(_NO_WEIGHTS))
    taken = sum(weight.numel() for weight in model.parameters())
    if given != taken:
        raise WeightsInvalid(
            f"{file}: its {part} has {given} numbers and SDXL's {taken}, so it is of another kind; name another file"
        )


def vae_overflows(config: Config) -> bool:
    """Whether the VAE overflows in fp16, by its configuration's `force_upcast`."""
    return bool(config.get("force_upcast", True))
