"""What a training takes of a GPU's memory is known before, and one that has too little goes on in less."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from training_runs import draw_pictures, make_job

from models.errors import OutOfMemory
from models.lora.data.latents import encode_set
from models.lora.options import TrainingOptions
from models.lora.training import checkpoints, launcher
from models.lora.training.job import Tick
from models.lora.training.memory import find_memory_problem, in_words, training_memory, with_less
from models.lora.training.objective import Batch, NoisePrediction
from models.profiles import GIB

tiny_world = tiny_models.tiny_world


def document(**changes: Any) -> TrainingOptions:
    """The document's configuration."""
    return TrainingOptions.model_validate({"profile": "sdxl", **changes})


@pytest.mark.parametrize(
    ("changes", "gib"),
    [
        ({}, 27.5),
        ({"speed": "plain"}, 31.6),
        ({"train_batch_size": 2, "gradient_accumulation_steps": 2}, 17.1),
        ({"train_batch_size": 1, "gradient_accumulation_steps": 4}, 12.0),
        ({"gradient_checkpointing": True}, 9.8),
        ({"gradient_checkpointing": True, "train_batch_size": 1}, 8.7),
        ({"gradient_checkpointing": True, "train_batch_size": 1, "optimizer": "adamw_8bit"}, 8.4),
        ({"train_batch_size": 2, "rank": 256}, 20.9),
        ({"train_batch_size": 2, "target_modules": ("to_q", "to_k", "to_v", "to_out.0")}, 20.4),
    ],
)
def test_the_figure_is_what_was_measured(changes: dict[str, Any], gib: float) -> None:
    assert training_memory(document(**changes), "fp16") / GIB == pytest.approx(gib, abs=0.4)


def test_what_was_not_measured_follows_from_it() -> None:
    plain = training_memory(document(), "fp16")
    assert training_memory(document(), "bf16") == plain
    assert training_memory(document(train_batch_size=1), "no") / GIB == pytest.approx(23.6, abs=0.8)
    assert training_memory(document(resolution=512), "fp16") < plain / 2
    assert training_memory(document(rank=256), "fp16") == pytest.approx(plain + 3 * 59.3e6 * 20, rel=1e-3)
    assert training_memory(document(prior_data_dir="prior"), "fp16") == training_memory(
        document(train_batch_size=8), "fp16"
    )
    assert training_memory(TrainingOptions(), "fp16") == GIB


@pytest.mark.parametrize(
    ("batch", "accumulated", "steps"),
    [
        (4, 1, [(2, 2, False), (1, 4, False), (1, 4, True)]),
        (6, 2, [(3, 4, False), (1, 12, False), (1, 12, True)]),
        (7, 1, [(1, 7, False), (1, 7, True)]),
        (1, 1, [(1, 1, True)]),
    ],
)
def test_less_is_a_smaller_batch_and_then_activations_computed_twice(
    batch: int, accumulated: int, steps: list[tuple[int, int, bool]]
) -> None:
    options: TrainingOptions | None = document(train_batch_size=batch, gradient_accumulation_steps=accumulated)
    found = []
    while (options := with_less(options) if options else None) is not None:
        found.append((options.train_batch_size, options.gradient_accumulation_steps, options.gradient_checkpointing))
        assert options.train_batch_size * options.gradient_accumulation_steps == batch * accumulated
    assert found == steps


LEAST = document(train_batch_size=1, gradient_accumulation_steps=4, gradient_checkpointing=True)


@pytest.mark.parametrize(
    ("free", "total", "said"),
    [
        (79, 80, None),
        (27, 80, "set train_batch_size 2, gradient_accumulation_steps 2, which takes 17.2 GiB"),
        (23, 24, "set train_batch_size 2, gradient_accumulation_steps 2, which takes 17.2 GiB"),
        (15, 16, "set train_batch_size 1, gradient_accumulation_steps 4, which takes 12.0 GiB"),
        (
            11.5,
            12,
            "set train_batch_size 1, gradient_accumulation_steps 4 and gradient_checkpointing, which takes 11.2 GiB",
        ),
        (8, 24, "close what else uses it, or wait"),
        (7, 8, "use --profile steppe, or a larger GPU"),
    ],
)
def test_too_little_is_told_with_what_would_fit(free: float, total: float, said: str | None) -> None:
    problem = find_memory_problem(document(), "fp16", "cuda:0", int(free * GIB), int(total * GIB))
    if said is None:
        assert problem is None
        return
    needs = f"training profile sdxl with {in_words(document())} needs 27.5 GiB of memory on cuda:0"
    assert problem == f"{needs}, {free:.1f} of {total:.1f} GiB are free: {said}"


def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: Any) -> list[Tick]:
    """Train in batches of four where only some batches find memory."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    job = make_job(tmp_path / "out", draw_pictures(tmp_path / "pictures"), train_batch_size=4, dropout=0.0)
    encode_set(job.options, job.training_set, "cpu")
    real = NoisePrediction.forward
    ticks: list[Tick] = []

    def forward(objective: NoisePrediction, batch: Batch) -> torch.Tensor:
        if objective.training and not fits(len(batch.latents), ticks):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nand more lines")
        return real(objective, batch)

    monkeypatch.setattr(NoisePrediction, "forward", forward)
    launcher.run(job, ticks.append)
    return ticks


@pytest.mark.usefixtures("tiny_world")
def test_a_try_that_ran_out_of_memory_goes_on_with_a_smaller_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fits(batch: int, ticks: list[Tick]) -> bool:
        """Two pictures fit, and after the fifth update one."""
        return batch <= (2 if len([tick for tick in ticks if tick.loss is not None]) < 5 else 1)

    with caplog.at_level(logging.WARNING, "models.lora"):
        ticks = train(tmp_path, monkeypatch, fits)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    where = "no memory left on cpu for 64 pixels with train_batch_size"
    assert told == [
        f"{where} 4, gradient_accumulation_steps 1; going on with train_batch_size 2, gradient_accumulation_steps 2",
        f"{where} 2, gradient_accumulation_steps 2; going on with train_batch_size 1, gradient_accumulation_steps 4",
    ]
    assert checkpoints.list_steps(tmp_path / "out") == [4, 8, 12]
    # The fifth update is made again from the checkpoint of the fourth.
    assert [tick.step for tick in ticks if tick.loss is not None] == [1, 2, 3, 4, 5, *range(5, 13)]


@pytest.mark.usefixtures("tiny_world")
def test_where_nothing_fits_the_last_try_is_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def fits(batch: int, ticks: list[Tick]) -> bool:
        tries.append(batch)
        return False

    with pytest.raises(OutOfMemory, match=r"with train_batch_size 1, .* 4 and gradient_checkpointing$") as raised:
        train(tmp_path, monkeypatch, fits)
    assert tries == [4, 2, 1, 1]
    assert not raised.value.retryable


def test_words_for_the_settings() -> None:
    assert in_words(document(gradient_checkpointing=True)) == (
        "train_batch_size 4, gradient_accumulation_steps 1 and gradient_checkpointing"
    )
