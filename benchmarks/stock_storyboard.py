"""Stock code for the storyboard: diffusers' pipelines as in its documentation, a frame at a time.

`StableDiffusionXLPipeline` paints frame 1, and `StableDiffusionXLControlNetPipeline` the others on frame 1's Canny
edges. The LoRA is fused, the faster of the two documented ways. Each frame is saved as PNG and scored by CLIP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline, StableDiffusionXLPipeline
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from models.diffusion.edges import CANNY_THRESHOLDS
from models.diffusion.painter import starting_noise
from models.profiles import Profile
from models.sizes import Size

NAME = "frame_{number:03}.png"


@dataclass(frozen=True)
class Told:
    """The inputs of a storyboard."""

    prompts: Sequence[str]
    negative_prompt: str
    seeds: Sequence[int]
    steps: int
    size: Size


class StockStoryboard:
    """Loaded stock pipelines.

    Args:
        profile: gives the folders, the guidance, and strength and end of the ControlNet.
        lora: a file for `load_lora_weights`.
        device: a torch device.
        dtype: of all models, except a VAE whose configuration asks for fp32.
    """

    def __init__(self, profile: Profile, lora: Path, device: str, dtype: torch.dtype) -> None:
        self.profile, self.device = profile, device
        plain = StableDiffusionXLPipeline.from_pretrained(
            profile.base.source, dtype=dtype, add_watermarker=False, local_files_only=True
        ).to(device)
        plain.load_lora_weights(str(lora.parent), weight_name=lora.name)
        plain.fuse_lora()
        plain.unload_lora_weights()
        source = profile.controlnet.source
        controlnet = ControlNetModel.from_pretrained(source, dtype=dtype, local_files_only=True).to(device)
        self.plain: Any = plain
        self.guided: Any = StableDiffusionXLControlNetPipeline(
            **plain.components, controlnet=controlnet, add_watermarker=False
        )
        for pipeline in (self.plain, self.guided):
            pipeline.set_progress_bar_config(disable=True)
        self.clip: Any = CLIPModel.from_pretrained(profile.clip.source, local_files_only=True).to(device).eval()
        self.processor: Any = CLIPImageProcessorPil.from_pretrained(profile.clip.source)
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(profile.clip.source)

    def tell(self, told: Told, folder: Path) -> list[tuple[float, float]]:
        """Paint, save and score all frames.

        Returns:
            Each frame's CLIP cosines: with its prompt, and with frame 1.
        """
        folder.mkdir(parents=True, exist_ok=True)
        scores, lines, first = [], None, None
        for number, (prompt, seed) in enumerate(zip(told.prompts, told.seeds, strict=True), 1):
            image = self._paint(told, prompt, seed, lines)
            image.save(folder / NAME.format(number=number))
            if lines is None:
                edges = cv2.Canny(np.asarray(image.convert("L")), *CANNY_THRESHOLDS)
                lines, first = Image.fromarray(np.stack([edges] * 3, axis=2)), image
            scores.append(self._score(image, prompt, first or image))
        return scores

    def _paint(self, told: Told, prompt: str, seed: int, lines: Image.Image | None) -> Image.Image:
        guided: dict[str, Any] = {
            "image": lines,
            "controlnet_conditioning_scale": self.profile.control_scale,
            "control_guidance_end": self.profile.control_end,
        }
        pipeline = self.plain if lines is None else self.guided
        # The painter's noise, so that the pictures can be compared; drawing it takes no longer.
        image: Image.Image = pipeline(
            prompt,
            negative_prompt=told.negative_prompt,
            height=told.size.height,
            width=told.size.width,
            num_inference_steps=told.steps,
            guidance_scale=self.profile.guidance,
            latents=starting_noise(seed, told.size).to(self.device, pipeline.unet.dtype),
            **({} if lines is None else guided),
        ).images[0]
        return image

    @torch.no_grad()
    def _score(self, image: Image.Image, prompt: str, first: Image.Image) -> tuple[float, float]:
        words = self.tokenizer(prompt, truncation=True, max_length=77, return_tensors="pt").to(self.device)
        pixels = self.processor(images=[image, first], return_tensors="pt").pixel_values.to(self.device)
        pictures = self.clip.get_image_features(pixel_values=pixels).pooler_output
        text = self.clip.get_text_features(**words).pooler_output
        pictures, text = (features / features.norm(dim=-1, keepdim=True) for features in (pictures, text))
        return float(pictures[0] @ text[0]), float(pictures[0] @ pictures[1])
