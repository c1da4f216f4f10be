"""One output folder belongs to one training: a lock keeps others out, and each checkpoint names its training.

A training is named by the run that began it. A run that goes on from a checkpoint goes on with that training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from models.errors import InputError, WeightsInvalid
from models.lora.options import TrainingOptions
from models.lora.records import Checkpoint, checkpoint_name
from models.lora.training import checkpoints
from models.lora.training.checkpoints import State
from models.lora.training.job import PICTURES, Job

LOCK = ".training.lock"


@contextmanager
def held(output: Path) -> Iterator[None]:
    """Inside the block no other training can begin in this folder. The lock ends with this process, killed or not.

    A folder that can't be written is not locked: the checks say what is wrong with it.

    Raises:
        InputError: another training is at work there.
    """
    lock = FileLock(output / LOCK, timeout=0)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{output}: another training is at work there; wait until it ends, or choose another --output-dir"
        ) from None
    except OSError:
        pass
    try:
        yield
    finally:
        lock.release()


def training_of(start: Path | None, run: str) -> str:
    """Name of the training that this run makes.

    Args:
        start: the checkpoint that it goes on from, if any.
        run: name of the run.
    """
    return run if start is None else checkpoints.peek(start).training


def find_foreign_checkpoints(output: Path, start: Path | None, run: str) -> Iterator[str]:
    """Why a training can't go on in this folder: a checkpoint there is of another one. One line at most.

    Args:
        output: folder of checkpoints.
        start: the checkpoint to go on from; None for a fresh start.
        run: name of this run: what it wrote itself, before it was retried, is no problem.

    Raises:
        WeightsInvalid: the checkpoint to go on from does not say what it is.
    """
    own = training_of(start, run)
    for step in reversed(checkpoints.list_steps(output)):
        found = f"{output} holds {checkpoint_name(step)}"
        state = _state_of(output / checkpoint_name(step))
        if state is None:
            yield f"{found}, which does not say what it is of: remove it, or choose another --output-dir"
        elif start is None and state.run != run:
            yield (
                f"{found} of an earlier training: go on from it with --resume-from-checkpoint latest, or choose "
                "another --output-dir"
            )
        elif start is not None and state.training != own:
            yield f"{found}, which is of another training than {start}: choose another --output-dir, or move it away"
        else:
            continue
        return


def _state_of(folder: Path) -> State | None:
    try:
        return checkpoints.peek(folder)
    except WeightsInvalid:
        return None


def refuse_other_settings(state: State, job: Job) -> None:
    """Refuse to go on with other settings than those that a checkpoint was made with.

    Raises:
        InputError: names the first difference.
    """
    for name, value in job.settings().items():
        before = _before(state.settings, name)
        if before != value:
            change = f"other {name}" if isinstance(value, list) else f"{name} {before!r}, and now it is {value!r}"
            raise InputError(
                f"{checkpoint_name(state.step)} was trained with {change}: set it back, or start fresh in another "
                "output_dir"
            )


def _before(settings: dict[str, Any], name: str) -> Any:
    """A setting of a checkpoint. One that the version of that checkpoint did not have counts as today's default."""
    if name == PICTURES and name not in settings:
        parts = ("train_batch_size", "gradient_accumulation_steps", "processes")
        return math.prod(settings.get(part, 1) for part in parts)
    fields = TrainingOptions.model_fields
    return settings.get(name, fields[name].default if name in fields else None)


def checkpoints_of(output: Path, job: Job) -> list[Checkpoint]:
    """The job's own checkpoints, by step: those in its folder, and the one elsewhere that it went on from.

    One in its folder that it went on from may be gone by now, as only the newest are kept.

    Raises:
        WeightsInvalid, StorageError: see `checkpoints.read_state`.
    """
    folders = {step: output / checkpoint_name(step) for step in checkpoints.list_steps(output)}
    if job.start is not None and Path(job.start).resolve().parent != output.resolve():
        folders.setdefault(checkpoints.peek(Path(job.start)).step, Path(job.start))
    own = [folders[step] for step in sorted(folders) if step <= job.updates]
    return [checkpoints.read_state(folder).checkpoint for folder in own if _is_of(folder, job)]


def _is_of(folder: Path, job: Job) -> bool:
    return checkpoints.peek(folder).training == job.training
