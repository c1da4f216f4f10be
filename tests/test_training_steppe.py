"""The offline profile's own training, on its own weights and pictures: what `make train` does, for its first steps."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from safetensors.torch import load_file, save_file
from training_runs import run

from models.language.prompts import token_counter
from models.lora.comparison.choice import MOST_DRIFT
from models.lora.comparison.evaluation import EvaluationSetup, compare
from models.lora.comparison.sample_prompts import get_prompts
from models.lora.configuration.config_files import training_options
from models.lora.data.dataset import read_set
from models.lora.options import TrainingOptions
from models.lora.records import Checkpoint, Comparison, TrainingSet
from models.lora.training.job import Job, Tick
from models.profiles import ROOT

FIRST_LOSSES = [
    *(0.0993, 0.0473, 0.0317, 0.1072, 0.0571, 0.0261, 0.0834, 0.0474, 0.0565, 0.0602),
    *(0.0969, 0.0417, 0.0480, 0.0893, 0.0693, 0.0875, 0.0854, 0.0499, 0.0566, 0.0545),
]
"""Of the first updates of `make train`; a change of code must keep them, or say why it does not."""


class _Enough(Exception):
    """Ends a training whose first updates were all that was asked."""


class Begun(NamedTuple):
    """What `make train` has done after its first 50 updates."""

    options: TrainingOptions
    training_set: TrainingSet
    losses: list[float]
    checkpoint: Checkpoint


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    output = tmp_path_factory.mktemp("steppe")
    given: dict[str, Any] = {
        "output_dir": str(output),
        "train_data_dir": str(ROOT / "data" / "images"),
        "prior_data_dir": str(ROOT / "data" / "others"),
        "device": "cpu",
    }
    given |= {"checkpointing_steps": 50}  # by then it has learnt him
    options = training_options(given, ROOT / "configs" / "training_steppe.yaml")
    job = Job(
        options=options,
        training_set=read_set(options, token_counter(options.get_profile())),
        base="steppe",
        updates=options.max_train_steps or 1,
        mixed_precision="no",
        device="cpu",
        run="the first updates",
        training="the first updates",
    )
    losses: list[float] = []
    written: list[Checkpoint] = []

    def watch(tick: Tick) -> None:
        if tick.loss is not None:
            losses.append(tick.loss)
        if tick.checkpoint is not None:
            written.append(tick.checkpoint)
            raise _Enough

    with pytest.raises(_Enough):
        run(job, watch)
    return Begun(options, job.training_set, losses, written[0])


def test_the_first_losses_stay(begun: Begun) -> None:
    assert begun.losses[:20] == pytest.approx(FIRST_LOSSES, abs=2e-4)


def strengthened(checkpoint: Checkpoint, factor: float) -> Checkpoint:
    """The same LoRA, acting so many times as strongly, as a checkpoint of one step more."""
    folder = Path(checkpoint.path).with_name(f"checkpoint-{checkpoint.step + 1}")
    shutil.copytree(checkpoint.path, folder)
    for file in folder.glob("*/adapter_model.safetensors"):
        tensors = {name: value * (factor if "lora_B" in name else 1) for name, value in load_file(file).items()}
        save_file(tensors, file, {"format": "pt"})
    return Checkpoint(path=str(folder), step=checkpoint.step + 1, loss=checkpoint.loss)


@pytest.fixture(scope="module")
def compared(begun: Begun) -> Comparison:
    """The first checkpoint beside one that its own strength has destroyed, on four of the profile's prompts."""
    character, unrelated = get_prompts(begun.options)
    fewer = {"validation_prompts": character[1:3], "unrelated_prompts": unrelated[:2], "validation_seeds": 1}
    options = begun.options.model_copy(update=fewer)
    setup = EvaluationSetup(folder=options.output_dir, device="cpu", precision="fp32")
    return compare(options, begun.training_set, [begun.checkpoint, strengthened(begun.checkpoint, 12)], setup)


def test_it_learns_the_character_and_leaves_the_others_alone(compared: Comparison) -> None:
    row = compared.rows[0]
    assert compared.chosen == row.checkpoint
    assert compared.reason.startswith("checkpoint-50 reaches every bar")
    found = re.search(r"the bare base: ([\d.]+)", compared.reason)
    assert found, compared.reason
    assert row.image_similarity > float(found[1]) + 0.2
    assert row.drift == pytest.approx(0, abs=MOST_DRIFT)


def test_a_lora_that_forgot_the_others_is_refused(compared: Comparison) -> None:
    destroyed = compared.rows[1]
    assert destroyed.drift == pytest.approx(1, abs=0.3)
    assert any(failure.startswith("drift ") for failure in destroyed.failed)
