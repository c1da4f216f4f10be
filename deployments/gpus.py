"""The GPUs that are visible to processes started here."""

from __future__ import annotations

import os
import subprocess


def visible_gpus() -> list[str]:
    """Return the entries of CUDA_VISIBLE_DEVICES, if set, else the GPUs' numbers; empty without a driver."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return []
    return [str(number) for number, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]
