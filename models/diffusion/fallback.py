"""Fallback to the libraries' own code when fused kernels or CUDA graphs fail during a painting.

Kernels are tried on a small shape when models are loaded, and graphs when they are recorded. A compiler, driver or card
may still fail on a real shape or a later call. Then this painting is repeated, and all later ones run, without them.
"""

from __future__ import annotations

import logging
from typing import Any

from models.diffusion.loading import Models
from models.diffusion.weights import first_line

logger = logging.getLogger("models.diffusion")


def to_own_code(models: Models, error: Exception) -> bool:
    """Switch these models to the libraries' own code, with one warning that names the error.

    Returns:
        False if they already use it, so that the error has another cause.
    """
    if models.failures:
        return False
    parts = [models.plain.unet, models.plain.vae]
    parts += [] if models.controlled is None else [models.controlled.controlnet]
    fused = sum(unfused(part) for part in parts)
    with_graphs = models.device.startswith("cuda") and models.speed != "plain"
    if not fused and not with_graphs:
        return False
    models.failures.append(f"{type(error).__name__}: {first_line(error)}")
    logger.warning("painting again without fused kernels and CUDA graphs, which is slower: %s", models.failures[0])
    return True


def unfused(model: Any) -> int:
    """Return how many of a model's blocks were switched from the kernels to diffusers' code (0 without Triton)."""
    try:
        from models.diffusion.fused import unfuse
    except ImportError:
        return 0
    return unfuse(model)
