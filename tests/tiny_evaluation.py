"""Comparisons of tiny random LoRAs on the tiny random SDXL: what the tests of trials have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tiny_models
from PIL import Image, ImageDraw
from tiny_loras import Tensors, save_checkpoint

from models.diffusion import painter
from models.lora.comparison.evaluation import EvaluationSetup, compare
from models.lora.options import TrainingOptions
from models.lora.records import Checkpoint, Comparison, TrainingPicture, TrainingSet
from models.profiles import PROFILES, Profile

CHARACTER = ("aldar_kose_man rides, night", "aldar_kose_man sits in a yurt", "a feast with aldar_kose_man")
UNRELATED = ("a dog", "the sea")
STRENGTHS = ((100, 0.3), (200, 1.0), (300, 3.0))


def options(**changes: Any) -> TrainingOptions:
    """Three prompts of the character and two others, with two seeds."""
    plain = {"profile": "tiny", "validation_prompts": CHARACTER, "unrelated_prompts": UNRELATED, "seed": 7}
    return TrainingOptions.model_validate({**plain, **changes})


def scaled(tensors: Tensors, factor: float) -> Tensors:
    """The LoRA at another strength."""
    return {
        part: {key: value * (factor if "lora_B" in key else 1) for key, value in own.items()}
        for part, own in tensors.items()
    }


def draw_training_set(folder: Path) -> TrainingSet:
    """Five drawn pictures, wider than high."""
    pictures = []
    for number in range(5):
        image = Image.new("RGB", (96, 80), (40 * number, 120, 200 - 30 * number))
        ImageDraw.Draw(image).ellipse((10 * number, 20, 10 * number + 40, 60), fill=(230, 60 * number % 255, 40))
        file = folder / f"{number}.png"
        image.save(file)
        pictures.append(TrainingPicture(file=str(file), sha256="", caption="aldar_kose_man", width=96, height=80))
    return TrainingSet(folder=str(folder), train=tuple(pictures))


class Trials:
    """Comparisons in one folder."""

    def __init__(self, folder: Path, lora: Tensors) -> None:
        self.folder, self.lora = folder / "comparison", lora
        self.training_set = draw_training_set(folder)
        self.told: list[tuple[str, float]] = []

    def checkpoint(self, step: int, strength: float) -> Checkpoint:
        """The checkpoint of a step: the random LoRA at some strength."""
        path = save_checkpoint(self.folder.parent / f"checkpoint-{step}", scaled(self.lora, strength))
        return Checkpoint(path=str(path), step=step, loss=0.1)

    def run(self, checkpoints: Sequence[Checkpoint], progress: Any = None, **changes: Any) -> Comparison:
        """Compare them, with a progress that is kept in `told` unless another is given."""
        setup = EvaluationSetup(folder=str(self.folder), device="cpu", precision="fp32")
        report = progress or (lambda what, share: self.told.append((what, share)))
        return compare(options(**changes), self.training_set, checkpoints, setup, report)

    def pictures(self, name: str) -> list[str]:
        """Names of what a checkpoint, or the base, painted."""
        return sorted(file.name for file in (self.folder / "samples" / name).glob("*.png"))


@pytest.fixture
def trials(tmp_path: Path, lora: Tensors, tiny_world: Profile) -> Trials:
    return Trials(tmp_path, lora)


class Compared(NamedTuple):
    """A comparison that was made, and where; tests leave it as it is."""

    trials: Trials
    comparison: Comparison


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory, lora: Tensors) -> Compared:
    trials = Trials(tmp_path_factory.mktemp("trials"), lora)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, "tiny", tiny_models.made_once(tmp_path_factory))
        return Compared(trials, trials.run([trials.checkpoint(step, strength) for step, strength in STRENGTHS]))


@pytest.fixture
def compared(made_once: Compared, tiny_world: Profile) -> Compared:
    return made_once


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Prompts that were painted from now on."""
    prompts: list[str] = []
    real = painter.paint

    def noted(models: Any, requests: Any, *told: Any) -> Any:
        prompts.extend(request.prompt for request in requests)
        return real(models, requests, *told)

    monkeypatch.setattr(painter, "paint", noted)
    return prompts
