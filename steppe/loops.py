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
    *,
    compiled: bool = True,
) -> None:
    """Train `learners` on `objective(*next_batch())`, a scalar loss; they end with their averaged weights.

    On a GPU it runs in bf16 autocast and, if `compiled`, through torch.compile; on a CPU in eager fp32.
    """
    device = next(learners.parameters()).device
    on_gpu = device.type == "cuda"
    step_loss = torch.compile(objective, dynamic=False) if on_gpu and compiled else objective
    weights = [weight for weight in learners.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=recipe.weight_decay, fused=on_gpu)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate_factor(recipe))
    average = AveragedModel(learners, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))  # type: ignore[no-untyped-call]
    state = {"learners": learners, "optimizer": optimizer, "schedule": schedule, "average": average}
    first = told = _resume(state, keeping, device)
    since = time.monotonic()
    for step in range(first, recipe.steps):
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            loss = step_loss(*next_batch())
        loss.backward()
        norm = nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        average.update_parameters(learners)
        if step % 100 == 0 or step == recipe.steps - 1:
            values = loss.item(), norm.item()  # waits for the GPU
            each = (time.monotonic() - since) / (step + 1 - told)
            _report(f"{keeping.name} step {step + 1}/{recipe.steps}", *values, each)
            told, since = step + 1, time.monotonic()
        if keeping.file is not None and (step + 1) % keeping.every == 0:
            _keep(state, keeping.file, step + 1)
    learners.load_state_dict(average.module.state_dict())
    if keeping.file is not None:
        keeping.file.unlink(missing_ok=True)


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


def _rate_factor(recipe: Recipe) -> Callable[[int], float]:
    warm_up = min(recipe.warm_up, recipe.steps // 10 + 1)

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = (step - warm_up) / max(1, recipe.steps - warm_up)
        return 0.5 * (1 + math.cos(done * math.pi))

    return factor


def _report(where: str, loss: float, norm: float, each: float) -> None:
    print(f"{where} loss {loss:.4f} grad {norm:.2f} {each * 1000:.0f} ms a step", flush=True)


def random_rows(count: int, batch: int, device: torch.device | str) -> Tensor:
    """Return random row numbers [batch] below `count`."""
    return torch.randint(count, (batch,), device=device)


def in_batches(rows: int, size: int) -> Iterable[slice]:
    """Return slices of `size` rows that cover `rows`."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
