"""One training loop for all steppe models: AdamW, warm-up and cosine, clipping, EMA, progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Draw = Callable[[], tuple[Tensor, ...]]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How long and how fast one model learns."""

    steps: int
    batch: int
    rate: float
    """Peak learning rate of AdamW."""
    ema: float = 0.999
    """Decay of the weights' moving average, which is what is kept."""
    weight_decay: float = 0.01
    warm_up: int = 200


def fit(
    objective: nn.Module, learners: nn.Module, next_batch: Draw, recipe: Recipe, name: str, *, compiled: bool = True
) -> None:
    """Train `learners` on `objective(*next_batch())`, a scalar loss; leave their averaged weights in them.

    Compiled (unless told otherwise) and in bf16 autocast on a GPU, eager fp32 on a CPU.
    """
    device = next(learners.parameters()).device
    on_gpu = device.type == "cuda"
    step_loss = torch.compile(objective) if on_gpu and compiled else objective
    weights = [weight for weight in learners.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=recipe.weight_decay, fused=on_gpu)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate_factor(recipe))
    average = AveragedModel(learners, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))  # type: ignore[no-untyped-call]
    started = time.monotonic()
    for step in range(recipe.steps):
        with torch.autocast(device.type, torch.bfloat16, enabled=on_gpu):
            loss = step_loss(*next_batch())
        loss.backward()
        norm = nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        average.update_parameters(learners)
        if step % 100 == 0 or step == recipe.steps - 1:
            _report(name, step, recipe.steps, loss.item(), norm.item(), time.monotonic() - started)
    learners.load_state_dict(average.module.state_dict())


def _rate_factor(recipe: Recipe) -> Callable[[int], float]:
    warm_up = min(recipe.warm_up, recipe.steps // 10 + 1)

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        done = (step - warm_up) / max(1, recipe.steps - warm_up)
        return 0.5 * (1 + math.cos(done * math.pi))

    return factor


def _report(name: str, step: int, steps: int, loss: float, norm: float, seconds: float) -> None:
    each = seconds / (step + 1) * 1000
    print(
        f"{name} step {step + 1}/{steps} loss {loss:.4f} grad {norm:.2f} {seconds:.0f} s, {each:.0f} ms a step",
        flush=True,
    )


def random_rows(count: int, batch: int, device: torch.device | str) -> Tensor:
    """Random row numbers [batch] below `count`."""
    return torch.randint(count, (batch,), device=device)


def in_batches(rows: int, size: int) -> Iterable[slice]:
    """Slices of `size` rows that cover `rows`."""
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
