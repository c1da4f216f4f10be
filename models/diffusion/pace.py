"""Keeps Python in step with the GPU."""

from __future__ import annotations

from typing import Any

import torch


class Pace:
    """Keeps Python at most one step ahead of the GPU, so that progress is accurate and a stop takes effect at once."""

    def __init__(self, device: str) -> None:
        self.on_gpu = device.startswith("cuda")
        self.last: Any = None

    def step(self) -> None:
        """Mark the end of this step in the GPU's queue, and wait until the step before it is done."""
        if not self.on_gpu:
            return
        asked = torch.cuda.Event()  # type: ignore[no-untyped-call]
        asked.record()
        if self.last is not None:
            self.last.synchronize()
        self.last = asked
