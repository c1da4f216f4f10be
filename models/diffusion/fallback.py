"""What paints fast on a GPU gives way to the libraries' own code where it fails in the middle of a painting.

Kernels are tried on a toy shape when models are loaded, and a graph when it is recorded. A compiler, a driver or a card
may still refuse the true shape, or the hundredth call: then the painting is done again, and all after it, without them.
"""

from __future__ import annotations

import logging
from typing import Any

from models.diffusion.loading import Models
from models.diffusion.weights import first_line

logger = logging.getLogger("models.diffusion")


def to_own_code(models: Models, error: Exception) -> bool:
    """Let these models run on the libraries' own code from now on, with one warning that names the error.

    Returns:
        False where they did already, so that the error has another cause.
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
    """Take a model's blocks off the kernels.

    Returns:
        How many ran on them; none where Triton is missing or was never asked for.
    """
    try:
        from models.diffusion.fused import unfuse
    except ImportError:
        return 0
    return unfuse(model)
