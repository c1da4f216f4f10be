"""Checks that base, ControlNet, VAE and CLIP fit each other and this project's pipelines, by their configurations.

They run before the writer is paid and gigabytes are read. Each problem is one line with what was found and what is
needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Config = Mapping[str, Any]
Configs = Mapping[str, Config]
"""Subfolder of the base ("unet", …) -> its config.json; "index" -> model_index.json."""

INDEX = "index"
LATENT_CHANNELS = 4
_FACTOR_OF_VAE = 8
_PIPELINE = "StableDiffusionXL"
_CLASSES = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "text_encoder_2": "CLIPTextModelWithProjection",
}
_EXTRA_CHANNELS = {9: "an inpainting UNet", 8: "a UNet that edits pictures", 5: "a depth or upscaling UNet"}
_IDS = 6
"""Count of numbers in SDXL's micro-conditioning."""
_TWINS = (
    "in_channels",
    "block_out_channels",
    "cross_attention_dim",
    "layers_per_block",
    "addition_embed_type",
    "projection_class_embeddings_input_dim",
)
"""Settings that must be equal in a ControlNet and its UNet."""


def find_base_problems(name: str, configs: Configs) -> Iterator[str]:
    """Yield the first reason why the base can't paint here; later ones usually follow from it."""
    reasons = (*_kind_problems(configs), *_unet_problems(configs), *_vae_problems(configs.get("vae", {})))
    for reason in reasons[:1]:
        yield f"base {name}: {reason}; name an SDXL base that paints from text"


def _kind_problems(configs: Configs) -> Iterator[str]:
    index = configs.get(INDEX, {})
    kind = str(index.get("_class_name"))
    if not kind.startswith(_PIPELINE):
        yield f"holds {kind}, needed {_PIPELINE}Pipeline"
    for part, cls in _CLASSES.items():
        named = index.get(part)
        if not (isinstance(named, list) and named and named[0]):
            refiner = " (SDXL's refiner has only the second)" if part == "text_encoder" else ""
            yield f"has no {part}{refiner}"
        elif part in configs and cls not in classes_of(configs[part]):
            yield f"its {part} is {', '.join(classes_of(configs[part])) or 'of no class'}, needed {cls}"


def classes_of(config: Config) -> list[str]:
    """Return a configuration's classes: diffusers' `_class_name`, or transformers' `architectures`."""
    return [config["_class_name"]] if "_class_name" in config else list(config.get("architectures") or [])


def _unet_problems(configs: Configs) -> Iterator[str]:
    unet, texts = configs.get("unet", {}), [configs.get(part, {}) for part in ("text_encoder", "text_encoder_2")]
    channels = unet.get("in_channels", LATENT_CHANNELS)
    if channels != LATENT_CHANNELS:
        yield f"has {_EXTRA_CHANNELS.get(channels, 'a UNet')} of {channels} channels, needed {LATENT_CHANNELS}"
    if "addition_embed_type" in unet and unet["addition_embed_type"] != "text_time":
        yield f"its UNet has addition_embed_type {unet['addition_embed_type']!r}, SDXL's has 'text_time'"
    widths = [text.get("hidden_size") for text in texts]
    cross = unet.get("cross_attention_dim")
    if cross is not None and None not in widths and cross != sum(width for width in widths if width):
        yield f"its UNet has cross_attention_dim {cross}, its text encoders give {widths[0]} + {widths[1]}"
    wide, numbers = unet.get("projection_class_embeddings_input_dim"), unet.get("addition_time_embed_dim")
    pooled = texts[1].get("projection_dim")
    if wide and numbers and pooled and wide != _IDS * numbers + pooled:
        needed = f"{_IDS} * {numbers} + {pooled}"
        yield f"its UNet has projection_class_embeddings_input_dim {wide}, its second text encoder needs {needed}"


def find_vae_problems(name: str, config: Config) -> Iterator[str]:
    """Yield, one line each, why this VAE can't replace an SDXL base's own."""
    needed = _CLASSES["vae"]
    if needed not in classes_of(config):
        yield f"VAE {name}: holds {', '.join(classes_of(config)) or 'no class'}, needed {needed}; name another"
        return
    for reason in _vae_problems(config):
        yield f"VAE {name}: {reason}; name one of SDXL"


def _vae_problems(config: Config) -> Iterator[str]:
    channels = config.get("latent_channels", LATENT_CHANNELS)
    if channels != LATENT_CHANNELS:
        yield f"its VAE has {channels} latent channels, needed {LATENT_CHANNELS}"
    blocks = config.get("block_out_channels")
    if blocks and 2 ** (len(blocks) - 1) != _FACTOR_OF_VAE:
        yield f"its VAE scales by {2 ** (len(blocks) - 1)}, needed {_FACTOR_OF_VAE}"


def find_controlnet_problems(name: str, config: Config, unet: Config) -> Iterator[str]:
    """Yield the first reason why this ControlNet can't guide that UNet."""
    if "ControlNetModel" not in classes_of(config):
        found = ", ".join(classes_of(config)) or "no class"
        yield f"ControlNet {name}: holds {found}, needed ControlNetModel; name another with --controlnet"
        return
    for key in _TWINS:
        if key in config and key in unet and config[key] != unet[key]:
            yield (
                f"ControlNet {name}: its {key} is {config[key]}, the base's UNet has {unet[key]}; name one that was "
                "trained on this base with --controlnet, or use --pipeline simplified"
            )
            return


def find_clip_problems(name: str, config: Config) -> Iterator[str]:
    """Yield why this model is no CLIP."""
    if "CLIPModel" not in classes_of(config):
        yield f"CLIP {name}: holds {', '.join(classes_of(config)) or 'no class'}, needed CLIPModel; name another"
