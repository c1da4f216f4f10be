"""The training loop of all steppe models: AdamW, warm-up and cosine, clipping, EMA, progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.diffusion.graphs import Recorder

Draw = Callable[[], tuple[Tensor, ...]]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Training settings of one model."""

    steps: int
    batch: int
    rate: float
    """Peak learning rate of AdamW."""
    ema: float = 0.999
    """Decay of the weights' moving average, which becomes the trained model."""
    weight_decay: float = 0.01
    warm_up: int = 200
    seconds: float | None = None
    """End after so long instead of after `steps`; the rate then falls by the clock."""


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """A training's name and the place of its checkpoints, from which a stopped training continues."""

    name: str
    folder: Path | None = None
    """None writes no checkpoint."""
    every: int = 500
    """Steps between two checkpoints."""

    @property
    def file(self) -> Path | None:
        """The checkpoint's file."""
        return None if self.folder is None else self.folder / f"{self.name}.state.pt"


def fit(
    objective: nn.Module,
    learners: nn.Module,
    next_batch: Draw,
    recipe: Recipe,
    keeping: Keeping,
) -> int:
    """Train `learners` on `objective(*next_batch())`, a scalar loss; they end with their averaged weights.

    On a GPU it runs in bf16 autocast, and both passes of a step are one CUDA graph for each shape of batch: these
    models are so small that the GPU would wait for Python. A graph repeats what the CPU decided when it was recorded,
    so no objective may draw numbers there. On a CPU it runs in fp32.

    Returns:
        The number of steps.
    """
    device = next(learners.parameters()).device
    on_gpu = device.type == "cuda"

    def both_passes(*batch: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            loss: Tensor = objective(*batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    step_loss: Callable[..., Tensor] = both_passes
    if on_gpu:
        step_loss = Recorder(both_passes, torch.cuda.graph_pool_handle(), set(), "pretraining")
    weights = [weight for weight in learners.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=recipe.weight_decay, fused=on_gpu)
    course = _Course(recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, course.rate)
    average = AveragedModel(learners, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))  # type: ignore[no-untyped-call]
    state = {"learners": learners, "optimizer": optimizer, "schedule": schedule, "average": average}
    step = told = _resume(state, keeping, device)
    since = time.monotonic()
    while not course.ended(step):
        loss = step_loss(*next_batch())
        norm = nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)  # a graph adds to the memory it was recorded with
        schedule.step()
        average.update_parameters(learners)
        step += 1
        if step % 100 == 1 or course.ended(step):
            values = loss.item(), norm.item()  # waits for the GPU
            each = (time.monotonic() - since) / (step - told)
            _report(f"{keeping.name} step {step}, {course.share(step):.0%}", *values, each)
            told, since = step, time.monotonic()
        if keeping.file is not None and step % keeping.every == 0:
            _keep(state, keeping.file, step)
    learners.load_state_dict(average.module.state_dict())
    if keeping.file is not None:
        keeping.file.unlink(missing_ok=True)
    return step


def _keep(state: dict[str, Any], file: Path, step: int) -> None:
    """Write a checkpoint to a temporary file and rename it, so that an incomplete one is never read."""
    aside = file.with_suffix(".new")
    torch.save({"step": step, **{name: part.state_dict() for name, part in state.items()}}, aside)
    aside.replace(file)


def _resume(state: dict[str, Any], keeping: Keeping, device: torch.device) -> int:
    """Load the checkpoint, if any, and return the step to continue from."""
    if keeping.file is None or not keeping.file.is_file():
        return 0
    kept = torch.load(keeping.file, map_location=device, weights_only=True)
    for name, part in state.items():
        part.load_state_dict(kept[name])
    print(f"{keeping.name}: going on after step {kept['step']}", flush=True)
    return int(kept["step"])


class _Course:
    """How far a training is, by its steps or by the clock, and the factor of its rate: warm-up, then a cosine."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.began = recipe, time.monotonic()
        self.warm_up = min(recipe.warm_up, recipe.steps // 10 + 1)

    def share(self, step: int) -> float:
        """Return the share that is done after so many steps."""
        if self.recipe.seconds is not None:
            return min(1.0, (time.monotonic() - self.began) / self.recipe.seconds)
        return step / self.recipe.steps

    def ended(self, step: int) -> bool:
        """Whether it ends after so many steps."""
        return self.share(step) >= 1

    def rate(self, step: int) -> float:
        """Return the factor of the rate in a step, 0..1."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        if self.recipe.seconds is None:
            done = (step - self.warm_up) / max(1, self.recipe.steps - self.warm_up)
        else:
            done = self.share(step)
        return 0.5 * (1 + math.cos(done * math.pi))


def _report(where: str, loss: float, norm: float, each: float) -> None:
    print(f"{where} loss {loss:.4f} grad {norm:.2f} {each * 1000:.0f} ms a step", flush=True)


def random_rows(count: int, batch: int, device: torch.device | str) -> Tensor:
    """Return random row numbers [batch] below `count`."""
    return torch.randint(count, (batch,), device=device)


def in_batches(rows: int, size: int) -> Iterable[slice]:
    """Return slices of `size` rows that cover `rows`."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
