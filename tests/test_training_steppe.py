"""The offline profile's own training, on its own weights and pictures: what `make train` does, for its first steps."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from training_runs import run

from models.language.prompts import token_counter
from models.lora.comparison import MOST_DRIFT
from models.lora.config_files import training_options
from models.lora.dataset import read_set
from models.lora.job import Job, Tick
from models.lora.options import TrainingOptions
from models.lora.records import Checkpoint, Comparison, TrainingSet
from models.lora.sample_prompts import get_prompts
from models.lora.trials import BASE, SAMPLES, TrialSetup, compare
from models.profiles import ROOT
from steppe.judge import load_judge, verdicts

FIRST_LOSSES = [
    *(0.0596, 0.1079, 0.0455, 0.0374, 0.0407, 0.0707, 0.0635, 0.0641, 0.0528, 0.0900),
    *(0.0646, 0.0168, 0.0191, 0.1374, 0.0673, 0.0588, 0.1704, 0.0392, 0.1890, 0.0373),
]
"""Of the first updates of `make train`; a change of code must keep them, or say why it does not."""


class _Enough(Exception):
    """Ends a training whose first updates were all that was asked."""


class Begun(NamedTuple):
    """What `make train` has done when it writes its first checkpoint."""

    options: TrainingOptions
    training_set: TrainingSet
    losses: list[float]
    checkpoint: Checkpoint


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    output = tmp_path_factory.mktemp("steppe")
    given = {"output_dir": str(output), "train_data_dir": str(ROOT / "data" / "images"), "device": "cpu"}
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
    """The first checkpoint beside one that its own strength has destroyed, on five of the profile's prompts."""
    character, unrelated = get_prompts(begun.options)
    fewer = {"validation_prompts": character[1:], "unrelated_prompts": unrelated[:2], "validation_seeds": 1}
    options = begun.options.model_copy(update=fewer)
    setup = TrialSetup(folder=options.output_dir, device="cpu", precision="fp32")
    return compare(options, begun.training_set, [begun.checkpoint, strengthened(begun.checkpoint, 12)], setup)


def kalpaks(folder: Path, numbers: Iterable[int]) -> int:
    """On how many of these pictures the judge of the steppe's figures sees Aldar's hat."""
    pictures = [np.asarray(Image.open(folder / f"{number:02d}_42.png").convert("RGB")) for number in numbers]
    seen = verdicts(load_judge(ROOT / "weights" / "steppe" / "judge"), torch.from_numpy(np.stack(pictures)))
    return sum(one["hero_hat"] == "yes" for one in seen)


def test_it_learns_the_character_and_leaves_the_others_alone(begun: Begun, compared: Comparison) -> None:
    samples = Path(begun.options.output_dir) / SAMPLES
    assert kalpaks(samples / BASE, range(1, 6)) == 0
    assert kalpaks(samples / "checkpoint-100", range(1, 4)) >= 1
    assert kalpaks(samples / "checkpoint-100", range(4, 6)) == 0
    learnt = compared.rows[0]
    assert compared.chosen == learnt.checkpoint
    assert compared.reason.startswith("checkpoint-100 reaches every bar")
    assert "no more than the bare base" not in compared.reason
    assert learnt.drift == pytest.approx(0, abs=MOST_DRIFT)


def test_a_lora_that_forgot_the_others_is_refused(compared: Comparison) -> None:
    destroyed = compared.rows[1]
    assert destroyed.drift == pytest.approx(1, abs=0.3)
    assert any(failure.startswith("drift ") for failure in destroyed.failed)
