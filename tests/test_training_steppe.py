"""The offline profile's own training, on its own weights and pictures: what `make train` does, for its first steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_runs import run

from models.language.prompts import token_counter
from models.lora.config_files import training_options
from models.lora.dataset import read_set
from models.lora.job import Job, Tick
from models.profiles import ROOT

FIRST_LOSSES = [
    *(0.0596, 0.1079, 0.0455, 0.0374, 0.0407, 0.0707, 0.0635, 0.0641, 0.0528, 0.0900),
    *(0.0646, 0.0168, 0.0191, 0.1374, 0.0673, 0.0588, 0.1704, 0.0392, 0.1890, 0.0373),
]
"""Of the first updates of `make train`; a change of code must keep them, or say why it does not."""


class _Enough(Exception):
    """Ends a training whose first updates were all that was asked."""


def test_the_first_losses_stay(tmp_path: Path) -> None:
    given = {"output_dir": str(tmp_path), "train_data_dir": str(ROOT / "data" / "images"), "device": "cpu"}
    options = training_options(given, ROOT / "configs" / "training_steppe.yaml")
    job = Job(
        options=options,
        training_set=read_set(options, token_counter(options.get_profile())),
        base="steppe",
        updates=options.max_train_steps or 1,
        mixed_precision="no",
        device="cpu",
        run="the first updates",
    )
    losses: list[float] = []

    def watch(tick: Tick) -> None:
        if tick.loss is not None:
            losses.append(tick.loss)
        if len(losses) == 20:
            raise _Enough

    with pytest.raises(_Enough):
        run(job, watch)
    assert losses == pytest.approx(FIRST_LOSSES, abs=2e-4)
