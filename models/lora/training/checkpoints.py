"""Checkpoints on disk: whole or not there.

    checkpoint-300/
      unet_lora/  text_encoder_one_lora/  text_encoder_two_lora/    adapter_config.json, adapter_model.safetensors
      resume/state.pt       weights in fp32, optimizer, schedule, moving average: what a training goes on from
      resume/state.json     the update's number, the settings it was made with, the losses so far
      manifest.json         sha256 and size of every other file; written last

A checkpoint is written beside its place and renamed, so that a half-written one can't be seen.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from models.diffusion.adapter_files import FOLDERS
from models.errors import InputError, StorageError, WeightsInvalid
from models.lora.records import Checkpoint, Losses, checkpoint_name
from models.records import Record
from models.storage.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from models.storage.files import flush_to_disk, list_names, local_errors, sha256_of

if TYPE_CHECKING:
    import torch

LATEST = "latest"
MANIFEST = "manifest.json"
STATE, TENSORS = "resume/state.json", "resume/state.pt"
_NAME = re.compile(r"checkpoint-([1-9][0-9]*)")
_ASIDE = ".checkpoint-"


@dataclass
class LossLog:
    """`Losses` while a training adds to them."""

    steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    validation: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, losses: Losses) -> LossLog:
        """A log that goes on from these."""
        return cls(list(losses.steps), list(losses.loss), list(losses.learning_rate), dict(losses.validation))

    def add(self, step: int, loss: float, learning_rate: float) -> None:
        """Note an update."""
        self.steps.append(step)
        self.loss.append(loss)
        self.learning_rate.append(learning_rate)

    def record(self) -> Losses:
        """What a checkpoint keeps of it."""
        return Losses(
            steps=tuple(self.steps),
            loss=tuple(self.loss),
            learning_rate=tuple(self.learning_rate),
            validation=dict(self.validation),
        )

    def since(self, step: int) -> float:
        """Mean loss of the updates after this one."""
        recent = [loss for at, loss in zip(self.steps, self.loss, strict=True) if at > step]
        return sum(recent) / len(recent)


class State(Record):
    """What is known of a checkpoint besides its tensors."""

    step: int = Field(ge=1)
    run: str
    """Name of the run that wrote it."""
    training: str = ""
    """Name of the training that it is of: the run that began it. Empty in checkpoints of earlier versions."""
    settings: dict[str, Any]
    """Everything that decides how the training goes on: a resumed one must have the same."""
    losses: Losses
    checkpoint: Checkpoint


def write(
    output: Path,
    state: State,
    adapters: Mapping[str, Mapping[str, torch.Tensor]],
    configs: Mapping[str, Any],
    tensors: Mapping[str, Any],
) -> Checkpoint:
    """Write a checkpoint; one that is there for the same step is replaced.

    Args:
        output: folder of all checkpoints.
        adapters: tensors of the LoRA by part, in the precision they are saved in.
        configs: `peft.LoraConfig` by part.
        tensors: what the training goes on from; read again with torch's `weights_only`.

    Raises:
        StorageError: no space, or no permission. Nothing half-written is left.
    """
    import torch
    from safetensors.torch import save_file

    with _whole_or_not_there(output, state) as folder:
        for part, name in FOLDERS.items():
            (folder / name).mkdir(parents=True)
            (folder / name / ADAPTER_CONFIG).write_bytes(config_json(_plain_config(configs[part])))
            own = {key: value.contiguous().cpu() for key, value in adapters[part].items()}
            save_file(own, folder / name / ADAPTER_WEIGHTS[0], metadata={"format": "pt"})
        (folder / TENSORS).parent.mkdir()
        with (folder / TENSORS).open("wb") as file:
            torch.save(dict(tensors), file)
        (folder / STATE).write_text(state.model_dump_json(indent=1) + "\n", encoding="utf-8")
        names = list_names(folder)
        entries = {name: {"sha256": sha256_of(folder / name), "size": (folder / name).stat().st_size} for name in names}
        (folder / MANIFEST).write_bytes(config_json({"files": entries}))
        for name in [*names, MANIFEST]:
            with (folder / name).open("rb") as written:
                flush_to_disk(written)
    return state.checkpoint


@contextmanager
def _whole_or_not_there(output: Path, state: State) -> Iterator[Path]:
    """A folder to fill, which is renamed to the checkpoint's place if the block ends without an error."""
    target = Path(state.checkpoint.path)
    aside = output / f"{_ASIDE}{state.step}.{secrets.token_hex(6)}.tmp"
    with local_errors(target):
        try:
            output.mkdir(parents=True, exist_ok=True)
            yield aside
            _put(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _plain_config(config: Any) -> dict[str, Any]:
    """PEFT's own JSON, with the target modules in an order that does not change from run to run."""
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    return {**plain, "inference_mode": True, "base_model_name_or_path": None}


def config_json(value: Any) -> bytes:
    """A config or a manifest as it is written: sorted, so that equal ones are equal bytes."""
    return (json.dumps(value, indent=2, sort_keys=True, default=str) + "\n").encode()


def _put(aside: Path, target: Path) -> None:
    if target.exists():
        old = aside.with_suffix(".old")
        target.rename(old)
        aside.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        aside.rename(target)


def sweep(output: Path) -> None:
    """Remove what a killed training left half-written."""
    for left in output.glob(f"{_ASIDE}*"):
        shutil.rmtree(left, ignore_errors=True)


def prune(output: Path, limit: int | None) -> None:
    """Keep only the newest `limit` checkpoints."""
    if limit is not None:
        for checkpoint in list_steps(output)[:-limit]:
            shutil.rmtree(output / checkpoint_name(checkpoint))


def list_steps(output: Path) -> list[int]:
    """Steps of all checkpoints, in order."""
    if not output.is_dir():
        return []
    with local_errors(output):
        found = [_NAME.fullmatch(path.name) for path in output.iterdir() if (path / MANIFEST).is_file()]
    return sorted(int(match[1]) for match in found if match)


def last_whole(output: Path) -> str:
    """Which checkpoint is the last, in words for a message."""
    steps = list_steps(output)
    return f"{checkpoint_name(steps[-1])} is the last whole checkpoint" if steps else "there is no checkpoint yet"


def read_state(folder: Path) -> State:
    """What is known of a checkpoint, once all its files were found as its manifest has them.

    Raises:
        WeightsInvalid: a file is missing, changed or of another form; the message names it.
        StorageError: it can't be read.
    """
    check_whole(folder)
    return peek(folder)


def peek(folder: Path) -> State:
    """What is known of a checkpoint; its files are not compared with the manifest, which takes a while for large ones.

    Raises:
        WeightsInvalid: no such file, or of another form.
    """
    try:
        state = State.model_validate_json((folder / STATE).read_bytes())
    except (ValidationError, OSError) as error:
        raise WeightsInvalid(f"{folder / STATE}: not the state of a training; train anew") from error
    return state.model_copy(update={"checkpoint": state.checkpoint.model_copy(update={"path": str(folder)})})


def check_whole(folder: Path) -> None:
    """Compare every file with the manifest.

    Raises:
        WeightsInvalid: names the first file that is missing or changed.
        StorageError: a file can't be read.
    """
    try:
        with local_errors(folder / MANIFEST):
            entries = json.loads((folder / MANIFEST).read_bytes())["files"]
        promised = {str(name): str(entry["sha256"]) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WeightsInvalid(f"{folder / MANIFEST}: not a manifest; remove the checkpoint") from None
    for name, sha256 in promised.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != sha256:
            raise WeightsInvalid(f"{folder / name}: missing or changed since it was written; remove the checkpoint")


def find_start(output: Path, resume: str | None) -> Path | None:
    """The checkpoint to go on from, or None for a fresh start.

    Args:
        resume: None, "latest", or a checkpoint's name or path.

    Raises:
        InputError: the one that is named is not there.
    """
    if resume is None:
        return None
    if resume == LATEST:
        for step in reversed(list_steps(output)):
            try:
                check_whole(output / checkpoint_name(step))
            except (WeightsInvalid, StorageError):
                continue
            return output / checkpoint_name(step)
        return None
    folder = output / resume if _NAME.fullmatch(resume) else Path(resume).expanduser().absolute()
    if not (folder / MANIFEST).is_file():
        there = ", ".join(checkpoint_name(step) for step in list_steps(output)) or "none"
        raise InputError(f"resume_from_checkpoint: no whole checkpoint at {folder}; in {output} there is: {there}")
    return folder


def read_tensors(folder: Path) -> dict[str, Any]:
    """What the training goes on from, on the CPU; the reader runs no code from the file.

    Raises:
        WeightsInvalid: it is no such file.
    """
    import torch

    try:
        tensors: dict[str, Any] = torch.load(folder / TENSORS, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsInvalid(f"{folder / TENSORS}: not the state of a training; remove the checkpoint") from error
    return tensors
