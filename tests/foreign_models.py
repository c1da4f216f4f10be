"""Bases, ControlNets and CLIPs as strangers have them: the offline ones' configurations with one thing changed.

Folders of configurations alone, which is what the preflight reads.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.profiles import STEPPE, Profile
from models.sources import Component

PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "scheduler", "controlnet", "clip")


class Foreign:
    """A folder of configurations to change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = Path(STEPPE.base.source)
        for file in (own / "model_index.json", *(file for part in PARTS for file in (own / part).glob("*config.json"))):
            place = folder / file.relative_to(own)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)

    def change(self, name: str, **changes: Any) -> None:
        """Write other values into a JSON file; None takes a key out."""
        file = self.folder / name
        values = {**json.loads(file.read_text(encoding="utf-8")), **changes}
        file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))

    @property
    def profile(self) -> Profile:
        """The profile of this folder."""
        component = {part: Component(source=str(self.folder / part), size=0) for part in ("controlnet", "clip")}
        return STEPPE.model_copy(update={"base": Component(source=str(self.folder), size=0), **component})


def refiner(foreign: Foreign) -> None:
    """SDXL's second model, which has one text encoder."""
    foreign.change("model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline", text_encoder=[None, None])


def stable_diffusion_1(foreign: Foreign) -> None:
    """A base of an older kind."""
    foreign.change("model_index.json", _class_name="StableDiffusionPipeline")
    foreign.change("unet/config.json", cross_attention_dim=768)


def controlnet_of_1(foreign: Foreign) -> None:
    """A ControlNet of an older kind."""
    foreign.change("controlnet/config.json", cross_attention_dim=768)


def changing(name: str, **changes: Any) -> Callable[[Foreign], None]:
    """A model with these values in its configuration."""
    return lambda foreign: foreign.change(name, **changes)


MISFITS: dict[str, tuple[Callable[[Foreign], None], str]] = {
    "refiner": (refiner, "has no text_encoder (SDXL's refiner has only the second)"),
    "Stable Diffusion 1": (stable_diffusion_1, "holds StableDiffusionPipeline, needed StableDiffusionXLPipeline"),
    "inpainting": (changing("unet/config.json", in_channels=9), "has an inpainting UNet of 9 channels, needed 4"),
    "unconditioned": (changing("unet/config.json", addition_embed_type="text"), "addition_embed_type 'text', SDXL's"),
    "other encoder": (changing("text_encoder/config.json", hidden_size=80), "cross_attention_dim 224, its text"),
    "other pooling": (changing("text_encoder_2/config.json", projection_dim=64), "class_embeddings_input_dim 320, its"),
    "other class": (changing("unet/config.json", _class_name="UNetSpatio"), "its unet is UNetSpatio, needed UNet2D"),
    "16 channels": (changing("vae/config.json", latent_channels=16), "its VAE has 16 latent channels, needed 4"),
    "shallow VAE": (changing("vae/config.json", block_out_channels=[32, 48]), "its VAE scales by 2, needed 8"),
    "flow": (
        changing("scheduler/scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler"),
        "flow matching",
    ),
    "ControlNet of 1": (controlnet_of_1, "its cross_attention_dim is 768, the base's UNet has 224"),
    "short ControlNet": (
        changing("controlnet/config.json", block_out_channels=[64, 96]),
        "its block_out_channels is [64, 96], the base's UNet has [64, 96, 128]",
    ),
    "union": (
        changing("controlnet/config.json", _class_name="ControlNetUnionModel"),
        "holds ControlNetUnionModel, needed",
    ),
    "SigLIP": (changing("clip/config.json", architectures=["SiglipModel"]), "holds SiglipModel, needed CLIPModel"),
}
"""Name -> what makes it, and what is told of it."""
