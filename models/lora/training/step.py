"""Forward and backward of one batch, with the gradients in the masters at the end.

On a GPU it is recorded as a CUDA graph. A step of SDXL's LoRA starts 16,500 kernels, for which Python takes 540 ms;
an H100 computes them in 210.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.diffusion.graphs import Recorder
from models.lora.network.master_weights import MasterWeights
from models.lora.training.objective import Batch


class Step:
    """Learns from one batch.

    Args:
        accelerator: scales the loss.
        objective: `models.lora.training.objective.NoisePrediction`.
        masters: where the gradients go.
        recorded: whether to record the step as a CUDA graph: on a GPU, if no part of it depends on a value that Python
            reads.
    """

    def __init__(self, accelerator: Any, objective: Any, masters: MasterWeights, *, recorded: bool) -> None:
        self.accelerator, self.objective, self.masters = accelerator, objective, masters
        self.recorder: Recorder | None = None
        if recorded:
            self.recorder = Recorder(self._run, torch.cuda.graph_pool_handle(), set(), "training", spare=True)

    def __call__(self, batch: Batch) -> Tensor:
        """The batch's loss, a scalar on the device. Reading it waits for the device."""
        run = self.recorder or self._run
        loss: Tensor = run(**vars(batch))
        return loss.clone()

    def forget(self) -> None:
        """Give back the memory that a recorded step holds; the next one is recorded again."""
        if self.recorder is not None:
            self.recorder.forget()

    def _run(self, **tensors: Any) -> Tensor:
        loss: Tensor = self.objective(Batch(**tensors))
        self.accelerator.backward(loss)
        self.masters.take_gradients()
        return loss.detach()
