"""Trainable weights in fp32 (masters), and copies in the base's precision that the model computes with.

The usual way of mixed precision (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740). Autocast would cast
weights and every normalisation back and forth in each step; without it an SDXL step on an H100 is a fifth shorter
(`python -m benchmarks.gpu_training`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class MasterWeights:
    """The fp32 master weights of some of a model's weights.

    Args:
        learning: the model's trainable weights by name, still in fp32.
        dtype: what the model computes in. In fp32 on a CPU the model's weights are their own masters.
    """

    def __init__(self, learning: Mapping[str, nn.Parameter], dtype: torch.dtype) -> None:
        self.working = dict(learning)
        on_cpu = all(weight.device.type == "cpu" for weight in self.working.values())
        self.apart = not (on_cpu and dtype == torch.float32)
        self.named: dict[str, nn.Parameter] = dict(learning)
        if self.apart:
            self.named = {name: nn.Parameter(weight.detach().clone()) for name, weight in learning.items()}
            for weight in self.working.values():
                weight.data = weight.data.to(dtype, copy=True)

    @property
    def weights(self) -> list[nn.Parameter]:
        """The masters, in an order that is the same in every process."""
        return list(self.named.values())

    def update_model(self) -> None:
        """Copy the masters into the weights that the model computes with."""
        if self.apart:
            with torch.no_grad():
                torch._foreach_copy_(list[Tensor](self.working.values()), list[Tensor](self.weights))

    def take_gradients(self) -> None:
        """Add the model's gradients to the masters', where there are any, and clear the model's."""
        if not self.apart:
            return
        pairs = [
            (master, working)
            for master, working in zip(self.weights, self.working.values(), strict=True)
            if working.grad is not None
        ]
        for master, _ in pairs:
            if master.grad is None:
                master.grad = torch.zeros_like(master)
        sums: list[Tensor] = [master.grad for master, _ in pairs if master.grad is not None]
        found: list[Tensor] = [working.grad for _, working in pairs if working.grad is not None]
        whole = [torch.empty_like(total) for total in sums]
        torch._foreach_copy_(whole, found)
        torch._foreach_add_(sums, whole)
        for _, working in pairs:
            working.grad = None

    def share_gradients(self, processes: int) -> None:
        """Replace the gradients by their mean over all processes, each of which must have the same ones."""
        own: list[Tensor] = [master.grad for master in self.weights if master.grad is not None]
        together = torch.cat([gradient.flatten() for gradient in own])
        torch.distributed.all_reduce(together)
        parts = torch.split(together / processes, [gradient.numel() for gradient in own])
        torch._foreach_copy_(own, [part.view_as(gradient) for part, gradient in zip(parts, own, strict=True)])

    def clear_gradients(self) -> None:
        """Clear the gradients: of separate masters in place, because a recorded step adds to that memory."""
        given = [master.grad for master in self.weights if master.grad is not None]
        if self.apart and given:
            torch._foreach_zero_(given)
        elif given:
            for master in self.weights:
                master.grad = None

    @contextmanager
    def averaged(self, average: Any | None) -> Iterator[None]:
        """Inside the block, masters and model hold the moving average, if there is one."""
        if average is None:
            yield
            return
        average.store(self.weights)
        average.copy_to(self.weights)
        self.update_model()
        try:
            yield
        finally:
            average.restore(self.weights)
            self.update_model()
