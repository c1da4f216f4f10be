"""What a LoRA is trained to do: predict the noise in a picture, from its caption.

Everything random comes in from outside, so that the same batch always gives the same loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.lora.network.lora_model import LoraModel


@dataclass(frozen=True)
class Batch:
    """One batch, on the device."""

    latents: Tensor
    """Scaled, float32 [N, 4, h, w]."""
    noise: Tensor
    """Float32 [N, 4, h, w]."""
    timesteps: Tensor
    """int64 [N]."""
    tokens: tuple[Tensor, Tensor]
    """Of either tokenizer, int64 [N, 77]."""
    time_ids: Tensor
    """SDXL's micro-conditioning, float32 [N, 6]."""
    shares: Tensor
    """Of each picture's loss in the sum, float32 [N]: 1 / N without prior preservation."""


class NoisePrediction(nn.Module):
    """The mean squared error of the predicted noise (Ho et al. 2020, https://arxiv.org/abs/2006.11239, equation 14)."""

    def __init__(self, lora_model: LoraModel, min_snr_gamma: float | None = None) -> None:
        super().__init__()
        self.unet: Any = lora_model.parts["unet"]
        self.first: Any = lora_model.parts["text_encoder"]
        self.second: Any = lora_model.parts["text_encoder_2"]
        self.scheduler = lora_model.scheduler
        self.min_snr_gamma = min_snr_gamma

    def forward(self, batch: Batch) -> Tensor:
        """Scalar: the sum of the pictures' losses by their shares."""
        noisy = self.scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
        hidden, pooled = self.read(batch.tokens)
        added = {"text_embeds": pooled, "time_ids": batch.time_ids}
        predicted = self.unet(
            noisy.to(hidden.dtype), batch.timesteps, encoder_hidden_states=hidden, added_cond_kwargs=added
        ).sample
        errors = functional.mse_loss(predicted.float(), self.target(batch), reduction="none").mean(dim=(1, 2, 3))
        return (errors * self.timestep_weights(batch.timesteps) * batch.shares).sum()

    def read(self, tokens: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Both encoders' last hidden states but one, [N, 77, width], and the second's pooled caption, as SDXL's."""
        first = self.first(tokens[0], output_hidden_states=True)
        second = self.second(tokens[1], output_hidden_states=True)
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.text_embeds

    def target(self, batch: Batch) -> Tensor:
        """What the base predicts: noise, or velocity (https://arxiv.org/abs/2202.00512)."""
        if self.scheduler.config.prediction_type == "v_prediction":
            velocity: Tensor = self.scheduler.get_velocity(batch.latents, batch.noise, batch.timesteps)
            return velocity
        return batch.noise

    def timestep_weights(self, timesteps: Tensor) -> Tensor:
        """1, or min-SNR's weights (Hang et al. 2023, https://arxiv.org/abs/2303.09556), float32 [N]."""
        if self.min_snr_gamma is None:
            return torch.ones_like(timesteps, dtype=torch.float32)
        from diffusers.training_utils import compute_snr

        ratio = compute_snr(self.scheduler, timesteps)
        divisor = ratio + 1 if self.scheduler.config.prediction_type == "v_prediction" else ratio
        weights: Tensor = ratio.clamp(max=self.min_snr_gamma) / divisor
        return weights
