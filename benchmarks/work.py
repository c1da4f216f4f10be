"""The floating point operations that SDXL needs, counted by torch on models without weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from models.diffusion.loading import quieten
from models.profiles import Profile
from models.sizes import GRAIN, Size


@dataclass(frozen=True)
class Work:
    """Floating point operations, in TFLOP, of one forward pass of one picture."""

    unet: float
    controlnet: float
    decode: float
    encode: float

    def storyboard(self, profile: Profile, frames: int, steps: int, *, guidance: bool = True) -> float:
        """Return the TFLOP of a storyboard; the ControlNet counts only in the steps in which it acts.

        Text encoders and CLIP are omitted: together they are under a thousandth.
        """
        controlled = sum((step + 1) / steps <= profile.control_end for step in range(steps))
        evaluations = 2 if guidance else 1
        steps_of_both = frames * steps * self.unet + (frames - 1) * controlled * self.controlnet
        return evaluations * steps_of_both + frames * self.decode

    def training_sample(self) -> float:
        """Return the TFLOP of one picture's update, with stored latents: forward, and gradients of the inputs only.

        Frozen weights need no gradients. The LoRA's own products are omitted.
        """
        return 2 * self.unet


def count(profile: Profile, size: Size | None = None) -> Work:
    """Return the work of a profile's models for pictures of a size, by default its square; takes seconds, no memory."""
    quieten()
    base, (width, height) = Path(profile.base.source), size or Size.square(profile.native_size)
    with torch.device("meta"), torch.no_grad():
        unet: Any = _empty(UNet2DConditionModel, base / "unet")
        controlnet: Any = _empty(ControlNetModel, Path(profile.controlnet.source))
        vae: Any = _empty(AutoencoderKL, base / "vae")
        latents, pixels = torch.empty(1, 4, height // GRAIN, width // GRAIN), torch.empty(1, 3, height, width)
        time, words = torch.empty(1, dtype=torch.int64), torch.empty(1, 77, unet.config.cross_attention_dim)
        ids = 6 * unet.config.addition_time_embed_dim
        pooled = torch.empty(1, unet.config.projection_class_embeddings_input_dim - ids)
        added = {"text_embeds": pooled, "time_ids": torch.empty(1, 6)}
        return Work(
            unet=_counted(lambda: unet(latents, time, words, added_cond_kwargs=added)),
            controlnet=_counted(lambda: controlnet(latents, time, words, pixels, added_cond_kwargs=added)),
            decode=_counted(lambda: vae.decode(latents)),
            encode=_counted(lambda: vae.encode(pixels)),
        )


def _empty(cls: Any, folder: Path) -> Any:
    return cls.from_config(cls.load_config(folder))


def _counted(run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / 1e12
