"""The steppe models on disk: in the layout of an SDXL pipeline, in fp16."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from steppe.objectives import TextEncoders


def _read(kind: Any, folder: Path) -> Any:
    model = kind.from_pretrained(folder, torch_dtype=torch.float32)
    model.register_to_config(_name_or_path=None)  # otherwise a saved config would name this machine's folder
    return model


def load_unet(out: Path) -> Any:
    """Return the saved UNet in fp32."""
    from diffusers import UNet2DConditionModel

    return _read(UNet2DConditionModel, out / "unet").to(memory_format=torch.channels_last)


def load_vae(out: Path) -> Any:
    """Return the saved VAE in fp32."""
    from diffusers import AutoencoderKL

    return _read(AutoencoderKL, out / "vae")


def load_controlnet(out: Path) -> Any:
    """Return the saved ControlNet in fp32."""
    from diffusers import ControlNetModel

    return _read(ControlNetModel, out / "controlnet")


def load_clip(out: Path) -> Any:
    """Return the saved CLIP in fp32."""
    from transformers import CLIPModel

    return CLIPModel.from_pretrained(out / "clip", dtype=torch.float32)


def load_text_encoders(out: Path) -> TextEncoders:
    """Return the saved text encoders in fp32."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    return TextEncoders(
        CLIPTextModel.from_pretrained(out / "text_encoder", dtype=torch.float32),
        CLIPTextModelWithProjection.from_pretrained(out / "text_encoder_2", dtype=torch.float32),
    )


def write_model_index(out: Path) -> None:
    """Write `model_index.json`, by which diffusers recognises an SDXL pipeline."""
    import diffusers

    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": diffusers.__version__,
        "force_zeros_for_empty_prompt": False,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def save(model: Any, folder: Path) -> None:
    """Write a model in fp16."""
    model.half().save_pretrained(folder)
