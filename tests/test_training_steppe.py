"""The offline profile's own training, on its own weights and pictures: what `make train` does, on fewer pictures."""

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
from models.profiles import PROFILES, ROOT, STEPPE

FIRST_LOSSES = [
    *(0.1180, 0.0193, 0.0312, 0.0328, 0.0169, 0.0333, 0.1617, 0.0381, 0.0949, 0.0267),
    *(0.0850, 0.1086, 0.0916, 0.1058, 0.0871, 0.0604, 0.1104, 0.0728, 0.0396, 0.0364),
]
"""Of the first updates; a change of code must keep them, or say why it does not."""
PICTURES, UPDATES = 24, 120
"""Of him, and as many of the others; and updates, by which it has learnt him."""


class _Enough(Exception):
    """Ends a training whose first updates were all that was asked."""


class Begun(NamedTuple):
    """What the training has done so far."""

    options: TrainingOptions
    training_set: TrainingSet
    losses: list[float]
    checkpoint: Checkpoint


def some_of(name: str, folder: Path) -> str:
    """A folder with some of these pictures and their captions, from all parts of their list."""
    folder.mkdir()
    pictures = sorted((ROOT / "data" / name).glob("*.webp"))
    for file in pictures[:: len(pictures) // PICTURES][:PICTURES]:
        for own in (file, file.with_suffix(".txt")):
            shutil.copy(own, folder)
    return str(folder)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    output, pictures = tmp_path_factory.mktemp("steppe"), tmp_path_factory.mktemp("pictures")
    given: dict[str, Any] = {
        "output_dir": str(output),
        "train_data_dir": some_of("images", pictures / "his"),
        "prior_data_dir": some_of("others", pictures / "others"),
        "device": "cpu",
    }
    given |= {"checkpointing_steps": UPDATES, "train_batch_size": 2}
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
    """The checkpoint beside one that its own strength has destroyed, on four of the profile's prompts, in few steps."""
    character, unrelated = get_prompts(begun.options)
    fewer = {"validation_prompts": character[1:3], "unrelated_prompts": unrelated[:2], "validation_seeds": 1}
    options = begun.options.model_copy(update=fewer)
    setup = EvaluationSetup(folder=options.output_dir, device="cpu", precision="fp32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, STEPPE.name, STEPPE.model_copy(update={"steps": 10}))
        return compare(options, begun.training_set, [begun.checkpoint, strengthened(begun.checkpoint, 12)], setup)


def test_it_learns_the_character_and_leaves_the_others_alone(compared: Comparison) -> None:
    row = compared.rows[0]
    assert compared.chosen == row.checkpoint
    assert compared.reason.startswith(f"checkpoint-{UPDATES} reaches every bar")
    found = re.search(r"the bare base: ([\d.]+)", compared.reason)
    assert found, compared.reason
    assert row.image_similarity > float(found[1]) + 0.2
    assert row.drift == pytest.approx(0, abs=MOST_DRIFT)


def test_a_lora_that_forgot_the_others_is_refused(compared: Comparison) -> None:
    destroyed = compared.rows[1]
    assert destroyed.drift == pytest.approx(1, abs=0.3)
    assert any(failure.startswith("drift ") for failure in destroyed.failed)
