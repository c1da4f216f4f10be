"""The training loop of the steppe models: it ends after its steps or by the clock, and its rate falls with either."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from steppe import pretrain
from steppe.loops import Keeping, Recipe, fit


class Distance(nn.Module):
    """Squared distance of one weight from a target."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, target: Tensor) -> Tensor:
        """Return the scalar loss."""
        return (self.weight - target).pow(2).mean()


def train(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[float], Distance]:
    """Train; return the steps, each step's rate, and what learnt. Every look at the clock takes a second."""
    rates: list[float] = []
    clock = iter(range(10**6))
    monkeypatch.setattr("steppe.loops.time.monotonic", lambda: float(next(clock)))
    step = torch.optim.AdamW.step

    def watched(self: Any, *args: Any, **more: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    model = Distance()
    steps = fit(model, model, lambda: (torch.ones(4),), recipe, Keeping(name="distance"))
    return steps, rates, model


def test_it_ends_after_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, rates, model = train(Recipe(steps=200, batch=4, rate=0.05, ema=0.5), monkeypatch)
    assert steps == len(rates) == 200
    assert max(rates) == pytest.approx(0.05) and rates[0] < 0.005 and rates[-1] < 1e-5
    assert model.weight.item() == pytest.approx(1.0, abs=0.05)


def test_it_ends_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(steps=5, batch=4, rate=0.05, ema=0.5, seconds=300.0)
    steps, rates, model = train(recipe, monkeypatch)
    assert 50 < steps == len(rates) < 300  # not after 5
    assert max(rates) > 0.045 and rates[-1] < 1e-3
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert model.weight.item() == pytest.approx(1.0, abs=0.05)


def test_a_pass_adds_to_no_earlier_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    clip = nn.utils.clip_grad_norm_

    def watched(weights: Any, most: float) -> Tensor:
        seen.append(weights[0].grad.item())
        return clip(weights, most)

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", watched)
    train(Recipe(steps=3, batch=4, rate=1e-9), monkeypatch)
    assert seen == pytest.approx([-2.0] * 3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--further"], "--further needs --stage"),
        (["--further", "--stage", "base", "--stage", "words"], "--further: words can only be done from nothing"),
        (["--minutes", "-1"], "--minutes -1.0"),
        (["--rate", "0"], "--rate 0.0"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        pretrain.main(arguments)
    assert says in capsys.readouterr().err
