"""One training as a small record that another process can be given, and what it tells while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.errors import InputError
from models.lora.options import MixedPrecision, TrainingOptions
from models.lora.records import Checkpoint, TrainingPicture, TrainingSet
from models.records import Record

WITHOUT_EFFECT = (
    "profile",
    "base_model_name_or_path",
    "pretrained_model_name_or_path",
    "num_train_epochs",
    "max_train_steps",
    "train_data_dir",
    "caption_column",
    "caption_mode",
    "trigger",
    "prior_data_dir",
    "validation_pictures",
    "resolution",
    "enable_xformers_memory_efficient_attention",
    "train_batch_size",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "checkpointing_steps",
    "checkpoints_total_limit",
    "output_dir",
    "resume_from_checkpoint",
    "save_precision",
    "validation_prompts",
    "unrelated_prompts",
    "validation_seeds",
    "publish_to",
    "publish_anyway",
    "replace",
    "name",
    "accelerate_config",
    "device",
)
"""Options that do not change how a training goes on, or change it through what `settings` holds besides."""


PICTURES = "pictures an update"


class Job(Record):
    """A training that is ready to begin."""

    options: TrainingOptions
    training_set: TrainingSet
    base: str
    """Fingerprint of the base."""
    updates: int
    """How many there are in all."""
    mixed_precision: MixedPrecision
    device: str
    """cpu, cuda, cuda:N or mps; of several processes each takes its own."""
    processes: int = 1
    run: str
    """Name of this run."""
    training: str
    """Name of the training: of the run that began it."""
    start: str | None = None
    """Folder of the checkpoint to go on from."""

    def settings(self) -> dict[str, Any]:
        """Everything that decides how the training goes on, as JSON has it."""
        options = self.options.model_dump(mode="json", exclude=set(WITHOUT_EFFECT))
        pictures = self.training_set
        return {
            **options,
            "base": self.base,
            "resolution": self.options.side(),
            "updates": self.updates,
            "warmup_steps": self.options.warmup(self.updates),
            "mixed_precision": self.mixed_precision,
            "processes": self.processes,
            PICTURES: pictures_an_update(self.options, self.processes),
            "pictures": [_shown(picture) for picture in pictures.train],
            "prior pictures": [_shown(picture) for picture in pictures.prior],
            "held-out pictures": [picture.sha256 for picture in pictures.validation],
        }


def _shown(picture: TrainingPicture) -> list[str | int]:
    """What a training sees of a picture; repeats only if there are any, as in checkpoints of earlier versions."""
    return [picture.sha256, *picture.captions, *([picture.repeats] if picture.repeats > 1 else [])]


class Tick(Record):
    """What a training tells after an update, or after a checkpoint."""

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    seconds_a_step: float | None = None
    checkpoint: Checkpoint | None = None


Report = Callable[[Tick], None]
"""Called after each update and each checkpoint. What it raises stops the training."""


def pictures_an_update(options: TrainingOptions, processes: int) -> int:
    """How many pictures an update is made of: what counts, however they are split into batches."""
    return options.train_batch_size * options.gradient_accumulation_steps * processes


def updates_of(options: TrainingOptions, places: int, processes: int) -> int:
    """How many updates a training makes: `max_train_steps`, or what `num_train_epochs` passes over the pictures are.

    Args:
        options: of the training.
        places: of a pass, as `places_in_a_pass` counts them: in squares its pictures.
        processes: each takes a batch of its own.

    Raises:
        InputError: they are too few for the learning rate's schedule.
    """
    in_one_update = pictures_an_update(options, processes)
    updates = options.max_train_steps or -(-places * (options.num_train_epochs or 1) // in_one_update)
    if fault := options.find_schedule_fault(updates):
        raise InputError(fault)
    return updates
