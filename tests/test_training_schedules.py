"""The learning rate goes the way that its settings say, or they are refused; skipped updates do not count."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from accelerate.optimizer import AcceleratedOptimizer
from pydantic import ValidationError
from training_runs import draw_pictures, make_job

from models.errors import InputError
from models.lora.data.latents import encode_set
from models.lora.options import TrainingOptions
from models.lora.records import Checkpoint, Losses
from models.lora.training.belonging import refuse_other_settings
from models.lora.training.checkpoints import State
from models.lora.training.job import Tick, updates_of
from models.lora.training.loop import Training
from models.lora.training.optimizers import make_optimizer, make_schedule

tiny_world = tiny_models.tiny_world
RATE = 1e-3


def rates(updates: int = 20, **settings: Any) -> list[float]:
    """The learning rate of every update, as a share of the one asked for."""
    options = TrainingOptions.model_validate({"max_train_steps": updates, "learning_rate": RATE, **settings})
    optimizer = make_optimizer(options, [torch.nn.Parameter(torch.zeros(1))])
    schedule = make_schedule(options, optimizer, updates)
    found = []
    for _ in range(updates):
        found.append(schedule.get_last_lr()[0] / options.learning_rate)
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("name", ["constant", "constant_with_warmup"])
def test_constant_rises_and_stays(name: str) -> None:
    assert rates(lr_scheduler=name, warmup_steps=4) == pytest.approx([0, 0.25, 0.5, 0.75, *[1.0] * 16])
    assert rates(lr_scheduler=name, warmup_steps=0) == [1.0] * 20


@pytest.mark.parametrize("restarts", [1, 3])
def test_restarts_are_at_the_peak(restarts: int) -> None:
    found = rates(42, lr_scheduler="cosine_with_restarts", warmup_steps=2, lr_restarts=restarts)
    length = 40 // (restarts + 1)
    cycle = [0.5 * (1 + math.cos(math.pi * place / length)) for place in range(length)]
    assert found == pytest.approx([0, 0.5, *cycle * (restarts + 1)], abs=1e-6)
    assert rates(42, lr_scheduler="cosine", warmup_steps=2) != found


def test_unset_there_is_one_restart() -> None:
    settings = {"lr_scheduler": "cosine_with_restarts", "warmup_steps": 2}
    assert rates(42, **settings) == rates(42, lr_restarts=1, **settings)


@pytest.mark.parametrize("rate", [1e-3, 1e-7, 1e-8])
@pytest.mark.parametrize("power", [0.5, 1, 2, 3])
def test_polynomial_has_its_power_at_any_rate(power: float, rate: float) -> None:
    found = rates(lr_scheduler="polynomial", warmup_steps=0, lr_power=power, learning_rate=rate)
    assert found == pytest.approx([(1 - place / 20) ** power for place in range(20)])


def test_unset_polynomial_is_a_parabola_and_not_linear() -> None:
    found = rates(lr_scheduler="polynomial", warmup_steps=0)
    assert found == pytest.approx([(1 - place / 20) ** 2 for place in range(20)])
    assert rates(lr_scheduler="linear", warmup_steps=0) == pytest.approx([1 - place / 20 for place in range(20)])


@pytest.mark.parametrize(("updates", "warmup"), [(1, 0), (9, 0), (20, 2), (1000, 100), (3000, 100)])
def test_unset_the_warm_up_is_a_tenth_and_100_at_most(updates: int, warmup: int) -> None:
    assert TrainingOptions(max_train_steps=updates).warmup(updates) == warmup
    if warmup:
        assert max(rates(updates)[: warmup + 1]) == rates(updates)[warmup] == 1.0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"max_train_steps": 20, "warmup_steps": 100},
            "warmup_steps 100 is no less than the 20 updates there are: lower",
        ),
        (
            {"max_train_steps": 20, "warmup_steps": 20},
            "warmup_steps 20 is no less than the 20 updates there are: lower",
        ),
        ({"lr_restarts": 2}, "lr_restarts belongs to lr_scheduler cosine_with_restarts, which is cosine"),
        ({"lr_power": 2, "lr_scheduler": "linear"}, "lr_power belongs to lr_scheduler polynomial, which is linear"),
        (
            {"max_train_steps": 5, "warmup_steps": 2, "lr_scheduler": "cosine_with_restarts", "lr_restarts": 3},
            "lr_restarts 3 is too many for 3 updates after the warm-up",
        ),
    ],
)
def test_what_can_not_be_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainingOptions.model_validate(settings)


def test_a_warm_up_longer_than_the_epochs_is_refused_once_the_pictures_are_counted() -> None:
    options = TrainingOptions(max_train_steps=None, num_train_epochs=2, warmup_steps=100, train_batch_size=4)
    with pytest.raises(InputError, match="warmup_steps 100 is no less than the 5 updates there are"):
        updates_of(options, 10, 1)
    assert updates_of(options, 400, 1) == 200


def test_settings_that_an_earlier_version_did_not_know_are_no_difference(tmp_path: Path) -> None:
    job = make_job(tmp_path, draw_pictures(tmp_path / "pictures"), profile="steppe")
    kept = {name: value for name, value in job.settings().items() if name not in ("lr_restarts", "lr_power")}
    losses = Losses(steps=(), loss=(), learning_rate=(), validation={})
    state = State(step=4, run="a", settings=kept, losses=losses, checkpoint=Checkpoint(path="/a", step=4, loss=1))
    refuse_other_settings(state, job)
    with pytest.raises(InputError, match="trained with lr_scheduler 'linear', and now it is 'cosine'"):
        refuse_other_settings(state.model_copy(update={"settings": {**kept, "lr_scheduler": "linear"}}), job)


SKIPPED = (0, 3, 4)
"""Updates, counted from 0, whose gradients overflow."""


@pytest.mark.usefixtures("tiny_world")
@pytest.mark.parametrize("optimizer", ["adamw", "adamw_fused"])
def test_what_the_scaler_skips_advances_neither_schedule_nor_average(optimizer: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"optimizer": optimizer, "ema_decay": 0.9, "max_train_steps": 8, "checkpointing_steps": 8}
    job = make_job(tmp_path, draw_pictures(tmp_path / "pictures"), **changes)
    encode_set(job.options, job.training_set, "cpu")
    ticks: list[Tick] = []
    training = Training(job, ticks.append)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    training.accelerator.scaler, training.scale = scaler, 4.0
    training.optimizer = AcceleratedOptimizer(training.optimizer.optimizer, scaler=scaler)
    real = training.step

    def overflow(batch: Any) -> Any:
        loss = real(batch)
        if training.update in SKIPPED:
            training.weights[0].grad = torch.full_like(training.weights[0], math.inf)
        return loss

    training.step = overflow  # type: ignore[assignment]
    training.run()
    expected, place = [], 0
    for update in range(8):
        expected.append(rates(8, warmup_steps=2)[place] * job.options.learning_rate)
        place += update not in SKIPPED
    assert [tick.learning_rate for tick in ticks if tick.learning_rate is not None] == pytest.approx(expected)
    assert training.average.optimization_step == 8 - len(SKIPPED)
    assert scaler.get_scale() == 4.0 * 0.5 ** len(SKIPPED)
