"""Trainings on the tiny models: pictures, jobs, and what came of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from models.lora.buckets import nearest_size
from models.lora.data.latents import encode_set
from models.lora.options import TrainingOptions
from models.lora.records import TrainingPicture, TrainingSet
from models.lora.training import checkpoints
from models.lora.training.job import Job, Tick
from models.lora.training.loop import train

WORDS = ("in a yurt", "on a horse", "by a river", "at night", "with a sack", "in the bazaar", "at dawn", "with a dog")
UPDATES = 12


def draw_pictures(
    folder: Path, count: int = 8, *, sizes: Sequence[tuple[int, int]] = ((64, 64),), trigger: str = "aldar_kose_man"
) -> Path:
    """A folder of captioned pictures, each of other colours, of these sizes in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        colours = np.random.default_rng(number).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(colours).resize(sizes[number % len(sizes)], Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:03}.png")
        caption = f"{trigger} {WORDS[number % len(WORDS)]}".strip()
        (folder / f"{number:03}.txt").write_text(caption, encoding="utf-8")
    return folder


def read_plainly(folder: Path, options: TrainingOptions) -> tuple[TrainingPicture, ...]:
    """The pictures of such a folder."""
    return tuple(_read(file, options) for file in sorted(folder.iterdir()) if file.suffix != ".txt")


def _read(file: Path, options: TrainingOptions) -> TrainingPicture:
    with Image.open(file) as picture:
        width, height = picture.size
    caption = file.with_suffix(".txt").read_text(encoding="utf-8")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    bucket = nearest_size(width, height, options.sizes()) if options.aspect_buckets else None
    return TrainingPicture(file=str(file), sha256=sha256, caption=caption, width=width, height=height, bucket=bucket)


def make_job(output: Path, pictures: Path, *, start: Path | None = None, **changes: Any) -> Job:
    """A training of 12 updates on six pictures, two held out, with a checkpoint every four."""
    plain = {"profile": "tiny", "rank": 4, "alpha": 2, "learning_rate": 1e-2, "warmup_steps": 2}
    counts = {"max_train_steps": UPDATES, "checkpointing_steps": 4, "train_batch_size": 2}
    options = TrainingOptions.model_validate({**plain, **counts, "output_dir": str(output), "device": "cpu", **changes})
    drawn = read_plainly(pictures, options)
    prior = read_plainly(Path(options.prior_data_dir), options) if options.prior_data_dir else ()
    return Job(
        options=options,
        training_set=TrainingSet(folder=str(pictures), train=drawn[:6], validation=drawn[6:8], prior=prior),
        base="tiny",
        updates=options.max_train_steps or 1,
        mixed_precision="no",
        device="cpu",
        run="a test",
        training="a test",
        start=None if start is None else str(start),
    )


@dataclass
class Told:
    """What a training told."""

    ticks: list[Tick] = field(default_factory=list)

    @property
    def losses(self) -> list[float]:
        return [tick.loss for tick in self.ticks if tick.loss is not None]

    @property
    def checkpoints(self) -> list[int]:
        return [tick.step for tick in self.ticks if tick.checkpoint is not None]


def run(job: Job, watch: Callable[[Tick], None] = lambda tick: None) -> Told:
    """Encode and train in this process."""
    told = Told()

    def report(tick: Tick) -> None:
        told.ticks.append(tick)
        watch(tick)

    encode_set(job.options, job.training_set, job.device)
    train(job, report)
    return told


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """All that a checkpoint holds as numbers, under one name each."""
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*/adapter_model.safetensors")):
        found |= {f"{file.parent.name}.{name}": value for name, value in load_file(file).items()}
    kept = checkpoints.read_tensors(folder)
    found |= {f"weights.{name}": value for name, value in kept["weights"].items()}
    for number, moments in kept["optimizer"]["state"].items():
        found |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
    if kept["average"] is not None:
        found |= {f"average.{number}": value for number, value in enumerate(kept["average"]["shadow_params"])}
    return found


def assert_equal_to_the_bit(one: Path, other: Path) -> None:
    """Two checkpoints hold the same numbers."""
    first, second = tensors_of(one), tensors_of(other)
    assert list(first) == list(second)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
