"""accelerate's Accelerator for one training: precision, accumulation, processes, trackers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import AutocastKwargs, ProjectConfiguration

from models.lora.training.job import Job

_DEVICE = "ACCELERATE_TORCH_DEVICE"


def make_accelerator(job: Job) -> Accelerator:
    """A new Accelerator. accelerate keeps its settings for the whole process, which may have trained with others
    before, so they are reset."""
    output = Path(job.options.output_dir).absolute()
    GradientState._reset_state()
    AcceleratorState._reset_state(reset_partial_state=True)
    with _named_device(job):
        return Accelerator(
            cpu=job.device == "cpu",
            mixed_precision=job.mixed_precision,
            gradient_accumulation_steps=job.options.gradient_accumulation_steps,
            log_with="tensorboard",
            project_config=ProjectConfiguration(project_dir=str(output), logging_dir=str(output / "logs")),
            kwargs_handlers=[
                # The model is kept in the precision it computes in (models.lora.network.master_weights).
                AutocastKwargs(enabled=False),
            ],
        )


@contextmanager
def _named_device(job: Job) -> Iterator[None]:
    """Let accelerate take the device that was named; of several processes each takes its own."""
    if job.processes == 1:
        os.environ[_DEVICE] = job.device
    try:
        yield
    finally:
        os.environ.pop(_DEVICE, None)
