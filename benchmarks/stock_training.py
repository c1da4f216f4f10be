"""Stock code for the training: the step of diffusers' example `train_text_to_image_lora_sdxl.py`.

The VAE encodes the pictures in fp32 in every step. Both text encoders run with their LoRA, in autocast, with a gradient
scaler for fp16. The optimizer is AdamW with PyTorch's defaults, and the loss is read after every step. The script's
command line, data loader and trackers, which would take more time, are omitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from models.lora.options import TrainingOptions

LENGTH = 77
"""Tokens of a caption."""


@dataclass(frozen=True)
class Sample:
    """One batch on the CPU, like that of the script's data loader."""

    pixels: Tensor
    """Float32 -1..1, [N, 3, side, side]."""
    captions: list[str]


class StockTraining:
    """Loaded models with their LoRA, and the optimizer.

    Args:
        options: rank, alpha, dropout, targets, rate, weight decay and norm.
        device: a torch device.
        dtype: of the frozen weights and of autocast; float32 means no autocast.
    """

    def __init__(self, options: TrainingOptions, device: str, dtype: torch.dtype) -> None:
        self.options, self.device, self.dtype = options, device, dtype
        base = Path(options.get_profile().base.source)
        self.scheduler: Any = DDPMScheduler.from_pretrained(base / "scheduler")
        self.tokenizers = [CLIPTokenizer.from_pretrained(base / name) for name in ("tokenizer", "tokenizer_2")]
        self.vae: Any = AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32).to(device)
        self.unet: Any = UNet2DConditionModel.from_pretrained(base / "unet", dtype=dtype).to(device)
        self.first: Any = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=dtype).to(device)
        self.second: Any = CLIPTextModelWithProjection.from_pretrained(base / "text_encoder_2", dtype=dtype).to(device)
        self.vae.requires_grad_(False)
        torch.manual_seed(options.seed)
        for model in (self.unet, self.first, self.second):
            self._add_lora(model)
        cast_training_params([self.unet, self.first, self.second], dtype=torch.float32)
        self.weights: list[nn.Parameter] = [
            weight
            for model in (self.unet, self.first, self.second)
            for weight in model.parameters()
            if weight.requires_grad
        ]
        self.optimizer = torch.optim.AdamW(self.weights, lr=options.learning_rate, weight_decay=options.weight_decay)
        self.scaler = torch.amp.GradScaler(device.partition(":")[0], enabled=dtype == torch.float16)

    def step(self, sample: Sample) -> float:
        """Make one update and return its loss."""
        options = self.options
        with torch.autocast(self.device.partition(":")[0], self.dtype, enabled=self.dtype != torch.float32):
            loss = self._loss(sample)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.weights, options.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        return loss.item()

    def _add_lora(self, model: Any) -> None:
        options = self.options
        on_unet = model is self.unet
        model.requires_grad_(False)
        model.add_adapter(
            LoraConfig(
                r=options.rank,
                lora_alpha=options.alpha,
                lora_dropout=options.dropout,
                init_lora_weights="gaussian",
                target_modules=list(options.target_modules) if on_unet else options.text_targets(),
            )
        )
        model.train()

    def _loss(self, sample: Sample) -> Tensor:
        pixels = sample.pixels.to(self.device)
        latents = self.vae.encode(pixels).latent_dist.sample() * self.vae.config.scaling_factor
        latents = latents.to(self.dtype)
        noise, count = torch.randn_like(latents), latents.shape[0]
        timesteps = torch.randint(0, self.scheduler.config.num_train_timesteps, (count,), device=self.device)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        side = sample.pixels.shape[-1]
        time_ids = torch.tensor([[side, side, 0, 0, side, side]] * count, device=self.device, dtype=self.dtype)
        hidden, pooled = self._read(sample.captions)
        added = {"time_ids": time_ids, "text_embeds": pooled}
        predicted = self.unet(noisy, timesteps, hidden, added_cond_kwargs=added, return_dict=False)[0]
        return functional.mse_loss(predicted.float(), noise.float(), reduction="mean")

    def _read(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Return both encoders' second-last hidden states, and the second's pooled caption."""
        states = []
        for tokenizer, encoder in zip(self.tokenizers, (self.first, self.second), strict=True):
            tokens = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
            read = encoder(tokens.input_ids.to(self.device), output_hidden_states=True)
            states.append(read.hidden_states[-2])
        return torch.cat(states, dim=-1), read.text_embeds
