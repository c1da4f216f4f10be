"""The offline base as one of another kind would be: the same knowledge, said as velocity or in EDM's terms.

A base that predicts velocity, ends on pure noise or is preconditioned as EDM's can be had from one that predicts noise:
what it thinks the clean latents are is worked out at the same amount of noise, and said in the other terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from diffusers import EulerDiscreteScheduler
from torch import Tensor

Forward = Callable[..., Any]


class Known:
    """A base's knowledge on its own schedule: clean latents from noisy ones.

    Args:
        forward: of the UNet that predicts noise.
        config: of its schedule.
    """

    def __init__(self, forward: Forward, config: dict[str, Any]) -> None:
        self.forward = forward
        kept = EulerDiscreteScheduler(**config).alphas_cumprod
        self.sigmas = ((1 - kept) / kept).sqrt()
        self.loudest = 0.0
        """Most noise that it was ever shown, in units of the clean latents."""

    def clean(self, noisy: Tensor, sigma: float, words: dict[str, Any]) -> Tensor:
        """What the latents are without their noise; `noisy` is clean + sigma * noise."""
        self.loudest = max(self.loudest, sigma)
        seen = min(sigma, float(self.sigmas[-1]))
        time = (self.sigmas - seen).abs().argmin()
        scaled = noisy / math.sqrt(sigma**2 + 1)
        noise: Tensor = self.forward(scaled, time, **words)[0]
        return scaled * math.sqrt(seen**2 + 1) - seen * noise


def velocity(known: Known, config: dict[str, Any]) -> Forward:
    """Of a base on the schedule of `config`: sqrt(a) * noise - sqrt(1 - a) * clean (Salimans & Ho 2022)."""
    shares = EulerDiscreteScheduler(**config).alphas_cumprod

    def forward(sample: Tensor, timestep: Tensor, **words: Any) -> tuple[Tensor]:
        share = float(shares[int(timestep)])
        sigma = math.sqrt((1 - share) / share)
        noisy = sample * math.sqrt(sigma**2 + 1)
        clean = known.clean(noisy, sigma, words)
        return (math.sqrt(share) * (noisy - clean) / sigma - math.sqrt(1 - share) * clean,)

    return forward


def preconditioned(known: Known, deviation: float = 0.5) -> Forward:
    """Of a base that is preconditioned as in Karras et al. 2022, table 1 (https://arxiv.org/abs/2206.00364)."""

    def forward(sample: Tensor, timestep: Tensor, **words: Any) -> tuple[Tensor]:
        sigma = math.exp(4 * float(timestep))
        total = math.sqrt(sigma**2 + deviation**2)
        noisy = sample * total
        clean = known.clean(noisy, sigma, words)
        kept = deviation**2 / total**2
        return ((clean - kept * noisy) / (sigma * deviation / total),)

    return forward
