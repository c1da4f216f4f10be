"""Training objectives of the steppe models, as modules whose forward returns the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from steppe.classifier import UNKNOWN, Classifier, to_pixels

MIN_SNR = 5.0
IGNORED = -100
"""Label that cross-entropy ignores."""


HEAD_WEIGHT, BODY_WEIGHT = 4.0, 2.0
"""Weights of heads and hats, and of bodies, in the losses: they are small, and people look at them first."""
FACTOR = 8
"""Pixels of a picture to one latent, along each side."""


def head_weights(heads: Tensor, height: int, width: int) -> Tensor:
    """Return the weight of each pixel, float [N, 1, H, W], of mean about 1.

    Args:
        heads: int [N, 2, 3], column, row and radius of each head, 0 for nobody.
        height, width: of the pictures.
    """
    x, y, radius = (heads[..., part, None, None].float() for part in range(3))
    down = torch.arange(height, device=heads.device)[None, None, :, None] - y
    aside = torch.arange(width, device=heads.device)[None, None, None, :] - x
    aside, low = aside.abs(), down > -2.4 * radius
    head = ((aside < 1.3 * radius) & low & (down < 1.6 * radius)).any(dim=1, keepdim=True).float()
    body = ((aside < 2.4 * radius) & low & (down < 6.5 * radius)).any(dim=1, keepdim=True).float()
    weights = 1 + (BODY_WEIGHT - 1) * body + (HEAD_WEIGHT - BODY_WEIGHT) * head
    return weights / weights.mean()


class ReconstructionLoss(nn.Module):
    """The VAE's loss: L1 + 10 L2, weighted by pixel, + L1 of both gradients + 0.001 KL."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pictures: Tensor, heads: Tensor) -> Tensor:
        """Scalar loss of uint8 [N, H, W, 3] and its heads [N, 2, 3]."""
        error, posterior, weights = reconstruct(self.vae, pictures, heads)
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        loss: Tensor = (weights * (error.abs() + 10 * error.pow(2))).mean() + edges + 1e-3 * divergence(posterior)
        return loss


def reconstruct(vae: Any, pictures: Tensor, heads: Tensor) -> tuple[Tensor, Any, Tensor]:
    """Encode uint8 pictures [N, H, W, 3], decode a sample, and return what the VAE's losses are made of.

    Returns:
        The error [N, 3, H, W], the latents' distribution, and the weight of each pixel [N, 1, H, W].
    """
    target = to_pixels(pictures).contiguous(memory_format=torch.channels_last)
    posterior = vae.encode(target).latent_dist
    error = vae.decode(posterior.sample()).sample.float() - target
    return error, posterior, head_weights(heads, *target.shape[-2:])


def divergence(posterior: Any) -> Tensor:
    """Return the mean KL divergence of latents from a normal distribution."""
    each: Tensor = posterior.mean.float().pow(2) + posterior.var.float() - 1 - posterior.logvar.float()
    return 0.5 * each.mean()


class SquaredLoss(nn.Module):
    """The VAE's loss on whole pictures: mostly the squared error, which PSNR measures, + 0.001 KL."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pictures: Tensor, heads: Tensor) -> Tensor:
        """Scalar loss of uint8 [N, H, W, 3] and its heads [N, 2, 3]."""
        error, posterior, weights = reconstruct(self.vae, pictures, heads)
        loss: Tensor = (weights * (25 * error.pow(2) + 0.5 * error.abs())).mean() + 1e-3 * divergence(posterior)
        return loss


class TextEncoders(nn.Module):
    """Both text encoders, used as in SDXL's pipeline."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the second-last hidden states [N, 77, 224] and the pooled caption [N, 128] of tokens [N, 77]."""
        one = self.first(tokens, output_hidden_states=True)
        two = self.second(tokens, output_hidden_states=True)
        return torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1), two.text_embeds


def known_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits [N, values] over the labels [N] that are not IGNORED; 0 if all are."""
    total = functional.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


class WordsLoss(nn.Module):
    """The text encoders' first loss, without pictures: predict the attributes of a scene from its caption.

    Each attribute attends to the hidden states with one query, like the UNet's cross-attention, and also reads the
    pooled caption. Attributes that a caption omits can only be guessed.
    """

    def __init__(self, texts: TextEncoders, width: int, pooled_width: int, classes: list[int]) -> None:
        super().__init__()
        self.texts = texts
        self.queries = nn.Parameter(torch.randn(width, len(classes)) * width**-0.5)
        self.answers = nn.ModuleList(nn.Linear(width + pooled_width, count) for count in classes)

    def forward(self, tokens: Tensor, truth: Tensor) -> Tensor:
        """Return the scalar loss of tokens [N, 77] and labels int64 [N, attributes], IGNORED for no value."""
        hidden, pooled = self.texts(tokens)
        read = (hidden @ self.queries).softmax(dim=1).transpose(1, 2) @ hidden
        losses = [
            known_loss(answer(torch.cat([read[:, index], pooled], dim=-1)), truth[:, index])
            for index, answer in enumerate(self.answers)
        ]
        return torch.stack(losses).mean()


class NoiseLoss(nn.Module):
    """The base's loss: squared error of the predicted noise at uniform timesteps, weighted by min-SNR.

    Low-noise timesteps, where the picture alone shows the noise, weigh less (https://arxiv.org/abs/2303.09556).
    """

    alphas: Tensor

    def __init__(self, unet: Any, texts: TextEncoders, scheduler: Any) -> None:
        super().__init__()
        self.unet, self.texts = unet, texts
        self.register_buffer("alphas", scheduler.alphas_cumprod.clone(), persistent=False)

    def noisy(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return noisy latents [N, 4, H, W] at random timesteps, the noise in them, and the timesteps."""
        noise = torch.randn_like(latents)
        timesteps = torch.randint(len(self.alphas), (len(latents),), device=latents.device)
        alpha = self.alphas[timesteps].view(-1, 1, 1, 1)
        return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise, noise, timesteps

    def conditions(self, tokens: Tensor, sizes: Tensor) -> dict[str, Any]:
        """Return the UNet's keyword arguments for tokens [N, 77] and SDXL's micro-conditioning [N, 6]."""
        hidden, pooled = self.texts(tokens)
        added = {"text_embeds": pooled, "time_ids": sizes.float()}
        return {"encoder_hidden_states": hidden, "added_cond_kwargs": added}

    def weighted(self, predicted: Tensor, noise: Tensor, timesteps: Tensor, heads: Tensor) -> Tensor:
        """Return the mean squared error of `predicted` noise, weighted by each picture's timestep, and at its `heads`
        [N, 2, 3] and bodies as in the VAE's losses.
        """
        alpha = self.alphas[timesteps]
        weights = (MIN_SNR * (1 - alpha) / alpha).clamp(max=1).view(-1, 1, 1, 1)
        looked_at = head_weights(heads / FACTOR, *noise.shape[-2:])
        return ((predicted.float() - noise).pow(2) * weights * looked_at).mean()

    def forward(self, latents: Tensor, tokens: Tensor, sizes: Tensor, heads: Tensor) -> Tensor:
        """Return the scalar loss of scaled latents [N, 4, H, W], tokens [N, 77], sizes [N, 6] and heads [N, 2, 3]."""
        noisy, noise, timesteps = self.noisy(latents)
        predicted = self.unet(noisy, timesteps, **self.conditions(tokens, sizes)).sample
        return self.weighted(predicted, noise, timesteps, heads)


class ControlLoss(NoiseLoss):
    """The ControlNet's loss: the base's, with the frozen UNet guided by the picture's edges."""

    def __init__(self, controlnet: Any, unet: Any, texts: TextEncoders, scheduler: Any) -> None:
        super().__init__(unet, texts, scheduler)
        self.controlnet = controlnet

    def forward(  # type: ignore[override]
        self, latents: Tensor, tokens: Tensor, sizes: Tensor, heads: Tensor, edges: Tensor
    ) -> Tensor:
        """Return the scalar loss; `edges` is float [N, 3, 8 H, 8 W] in 0..1."""
        noisy, noise, timesteps = self.noisy(latents)
        with torch.no_grad():
            conditions = self.conditions(tokens, sizes)
        down, middle = self.controlnet(noisy, timesteps, controlnet_cond=edges, return_dict=False, **conditions)
        predicted = self.unet(
            noisy,
            timesteps,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            **conditions,
        ).sample
        return self.weighted(predicted, noise, timesteps, heads)


class ClassifierLoss(nn.Module):
    """The classifier's loss: cross-entropy of every head, on augmented drawings."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pictures: Tensor, truth: Tensor) -> Tensor:
        """Return the scalar loss of uint8 pictures [N, H, W, 3] and labels [N, heads], 255 for no value."""
        answers = self.classifier(roughen(to_pixels(pictures)))
        labels = torch.where(truth == UNKNOWN, IGNORED, truth.long())
        losses = [known_loss(logits, labels[:, index]) for index, logits in enumerate(answers)]
        return torch.stack(losses).mean()


def roughen(pixels: Tensor) -> Tensor:
    """Return pictures [N, 3, H, W] shifted by up to 6 pixels, with another contrast and noise, half of them blurred."""
    count, _, *sides = pixels.shape
    shift = torch.randint(-6, 7, (2,), device=pixels.device)
    rows, columns = (
        (torch.arange(side, device=pixels.device) - by) % side for side, by in zip(sides, shift, strict=True)
    )
    pixels = pixels[:, :, rows[:, None], columns]
    blurred = functional.avg_pool2d(functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    softly = torch.rand(count, 1, 1, 1, device=pixels.device) * (torch.rand(count, 1, 1, 1, device=pixels.device) < 0.5)
    gain = 1 + 0.1 * torch.randn(count, 1, 1, 1, device=pixels.device)
    return (pixels + softly * (blurred - pixels)) * gain + 0.04 * torch.randn_like(pixels)
