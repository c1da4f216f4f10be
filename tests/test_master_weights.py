"""MasterWeights: fp32 weights that learn, beside the half-precision ones that a model computes with."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.diffusion.requests import sampling
from models.lora.network.master_weights import MasterWeights
from models.lora.options import TrainingOptions
from models.lora.training.optimizers import make_optimizer


def a_model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def masters_of(model: nn.Module, dtype: torch.dtype) -> MasterWeights:
    return MasterWeights(dict(model.named_parameters()), dtype)


def test_in_fp32_on_a_cpu_a_weight_is_its_own_master() -> None:
    model = a_model()
    masters = masters_of(model, torch.float32)
    assert all(master is own for master, own in zip(masters.weights, model.parameters(), strict=True))


def test_a_step_too_small_for_half_precision_is_kept_by_the_master() -> None:
    model = a_model()
    masters = masters_of(model, torch.bfloat16)
    before = [weight.detach().clone() for weight in model.parameters()]
    for _ in range(1000):
        with torch.no_grad():
            for master in masters.weights:
                master.add_(1e-5)
        masters.update_model()
    for master, own, old in zip(masters.weights, model.parameters(), before, strict=True):
        assert own.dtype == torch.bfloat16
        assert torch.equal(own, master.to(torch.bfloat16))
        assert torch.allclose(own.float() - old.float(), torch.full_like(master, 0.01), atol=4e-3)


def test_gradients_gather_in_the_masters_in_fp32() -> None:
    model = a_model()
    masters = masters_of(model, torch.bfloat16)
    x = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.bfloat16)
    for strength in (1.0, 1 / 512):  # their sum has no bfloat16 of its own
        (model(x) * strength).sum().backward()
        masters.take_gradients()
    assert all(own.grad is None for own in model.parameters())
    gathered = masters.named["weight"].grad
    assert gathered is not None
    assert gathered[:, 0].tolist() == [1 + 1 / 512] * 2
    masters.clear_gradients()
    assert not masters.named["weight"].grad.any()  # type: ignore[union-attr]


def test_what_has_no_gradient_is_not_decayed() -> None:
    """A weight that has no part in the loss stays what it is."""
    model = a_model()
    masters = masters_of(model, torch.bfloat16)
    optimizer = make_optimizer(TrainingOptions(learning_rate=0.5), masters.weights)
    model.weight.float().sum().backward()  # type: ignore[no-untyped-call]
    masters.take_gradients()
    before = masters.named["bias"].detach().clone()
    optimizer.step()
    assert torch.equal(masters.named["bias"], before)


@pytest.mark.parametrize(("steps", "fewer"), [(50, 20), (25, 10), (1, 1)])
def test_fast_takes_two_fifths_of_the_steps_of_a_solver_of_the_second_order(steps: int, fewer: int) -> None:
    assert sampling("exact", steps) == sampling("plain", steps) == ("Euler", steps)
    assert sampling("fast", steps) == ("DPM++ 2M", fewer)
