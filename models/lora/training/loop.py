"""The training loop: updates, checkpoints, and exact resuming.

What an update is made of follows from the seed and its number (`models.lora.training.batches`), so a checkpoint needs
only the weights, the optimizer, the schedule and the moving average. On a CPU a resumed training gives the same bits.
"""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.diffusion.weights import is_out_of_memory, torch_dtype
from models.errors import OutOfMemory, StorageError, TrainingDiverged, TrainingError
from models.lora.data.latents import open_store
from models.lora.network.lora_model import LoraModel, load_lora_model
from models.lora.records import Checkpoint, checkpoint_name
from models.lora.training import checkpoints
from models.lora.training.batches import Batches, Place, seed_of
from models.lora.training.belonging import refuse_other_settings
from models.lora.training.checkpoints import LossLog, State
from models.lora.training.divergence import Watch, remedy
from models.lora.training.job import Job, Report, Tick
from models.lora.training.memory import in_words
from models.lora.training.objective import NoisePrediction
from models.lora.training.optimizers import make_optimizer, make_schedule
from models.lora.training.processes import make_accelerator
from models.lora.training.step import Step

logger = logging.getLogger("models.lora")


class Training:
    """A training in progress, in one of its processes."""

    def __init__(self, job: Job, report: Report) -> None:
        options = job.options
        self.job, self.options, self.report = job, options, report
        self.accelerator = make_accelerator(job)
        self.device = str(self.accelerator.device)
        self.lora_model: LoraModel = load_lora_model(options, self.device, job.mixed_precision)
        self.batches = Batches(options, job.training_set, open_store(options), self.lora_model, self.device)
        self.masters = self.lora_model.masters
        self.weights = self.masters.weights
        self.average = _average(self.weights, options.ema_decay)
        optimizer = make_optimizer(options, self.weights)
        self.schedule = make_schedule(options, optimizer, job.updates)
        self.objective = NoisePrediction(self.lora_model, options.min_snr_gamma)
        self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        self.step = Step(self.accelerator, self.objective, self.masters, recorded=_can_record(job, self.device))
        self.losses = LossLog()
        self.update = 0
        self.watch = Watch(math.nan)
        self.scale, self.skipped = self._scale(), False
        self.output = Path(options.output_dir).absolute()

    def run(self) -> None:
        """Make all updates that are left, with a checkpoint every so many and after the last."""
        more = 1 + self.options.prior_loss_weight * bool(self.job.training_set.prior)
        self.watch = Watch(self._validate(), more)  # before anything is resumed this is the bare base's loss
        if self.job.start is not None:
            self._go_on_from(Path(self.job.start))
        began, first = time.monotonic(), self.update
        self._start_trackers()
        try:
            while self.update < self.job.updates:
                rate, loss = float(self.schedule.get_last_lr()[0]), self._learn()
                self.update += 1
                self._note(loss, rate, (time.monotonic() - began) / (self.update - first))
                if self.update % self.options.checkpointing_steps == 0 or self.update == self.job.updates:
                    self._keep()
        finally:
            self.accelerator.end_training()

    def _learn(self) -> float:
        """One update; the mean loss of its accumulated parts over all processes."""
        parts = self.options.gradient_accumulation_steps
        losses: list[Tensor] = []
        for part in range(parts):
            place = self._place(self.update, part)
            batches = self.batches.take(place)
            torch.manual_seed(seed_of(self.options.seed, "dropout", place.batch_number(self.options)))
            with self.accelerator.accumulate(self.objective):
                losses.extend(self.step(batch) for batch in batches)
                if self.accelerator.sync_gradients:
                    self._update()
        # The next batch is prepared while the GPU still computes; reading the loss waits for the GPU.
        self.batches.prepare(self._place(self.update + 1, 0))
        self.skipped = self._overflowed()
        if not self.skipped:
            self.schedule.step()
            if self.average is not None:
                self.average.step(self.weights)
        return sum(float(self.accelerator.reduce(loss, reduction="mean")) / parts for loss in losses)

    def _place(self, update: int, part: int) -> Place:
        return Place(update, part, self.accelerator.process_index, self.accelerator.num_processes)

    def _update(self) -> None:
        """Update the weights by the accumulated gradients, in all processes alike."""
        if self.accelerator.num_processes > 1:
            self.masters.share_gradients(self.accelerator.num_processes)
        self.accelerator.clip_grad_norm_(self.weights, self.options.max_grad_norm)
        self.optimizer.step()
        self.masters.clear_gradients()
        self.masters.update_model()

    def _note(self, loss: float, rate: float, seconds: float) -> None:
        """Record the loss, stop if the training has diverged, else report the loss."""
        self.losses.add(self.update, loss, rate)
        self._go_on_only_if_sound(loss)
        self.accelerator.log({"loss": loss, "learning_rate": rate}, step=self.update)
        if self.accelerator.is_main_process:
            self.report(Tick(step=self.update, loss=loss, learning_rate=rate, seconds_a_step=seconds))

    def _go_on_only_if_sound(self, loss: float) -> None:
        self._refuse(self.watch.fault(loss, skipped=self.skipped))

    def _refuse(self, fault: str | None) -> None:
        """Stop the training if there is a fault."""
        if fault is not None:
            change = remedy(self.options.learning_rate, self.job.mixed_precision, fault)
            raise TrainingDiverged(
                f"step {self.update}: {fault}; {checkpoints.last_whole(self.output)}. To avoid it, {change}, and train "
                "anew"
            )

    def _overflowed(self) -> bool:
        """Whether the scaler skipped the update because gradients overflowed fp16; then it has lowered its scale."""
        before, self.scale = self.scale, self._scale()
        return self.scale < before

    def _scale(self) -> float:
        scaler = self.accelerator.scaler
        return 0.0 if scaler is None else float(scaler.get_scale())

    def _keep(self) -> None:
        """Write a checkpoint of this update, with its validation loss."""
        found = self._validate()
        sound = all(bool(weight.isfinite().all()) for weight in self.weights)
        self._refuse(self.watch.fault_of_checkpoint(found if sound else math.nan))
        validation = found if self.job.training_set.validation else None
        self._compare_processes()
        if validation is not None:
            self.losses.validation[self.update] = validation
        if self.accelerator.is_main_process:
            before = max((step for step in checkpoints.list_steps(self.output) if step < self.update), default=0)
            name = checkpoint_name(self.update)
            checkpoint = Checkpoint(
                path=str(self.output / name),
                step=self.update,
                loss=self.losses.since(before),
                validation_loss=validation,
            )
            self._write(checkpoint)
            checkpoints.prune(self.output, self.options.checkpoints_total_limit)
            self.accelerator.log({} if validation is None else {"validation_loss": validation}, step=self.update)
            self.report(Tick(step=self.update, checkpoint=checkpoint))
        self.accelerator.wait_for_everyone()

    def _compare_processes(self) -> None:
        """Stop if the processes' weights are no longer equal: then what is saved is only one of them."""
        own = torch.stack([weight.detach().double().sum() for weight in self.weights])
        everyones = self.accelerator.gather(own[None])
        if not bool((everyones == everyones[0]).all()):
            raise TrainingError(f"step {self.update}: the processes' weights differ; run again with num_processes 1")

    def _write(self, checkpoint: Checkpoint) -> None:
        tensors = {
            "weights": {name: weight.detach().clone() for name, weight in self.masters.named.items()},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
        }
        state = State(
            step=self.update,
            run=self.job.run,
            training=self.job.training,
            settings=self.job.settings(),
            losses=self.losses.record(),
            checkpoint=checkpoint,
        )
        dtype = torch_dtype(self.options.save_precision)
        with self.masters.averaged(self.average):
            adapters = self.lora_model.adapters(dtype)
        checkpoints.write(self.output, state, adapters, self.lora_model.configs(), tensors)
        logger.info("%s: loss %.4f", checkpoint_name(self.update), checkpoint.loss)

    @torch.no_grad()
    def _validate(self) -> float:
        """Mean loss over the validation pictures; where there are none, over some training pictures."""
        count = len(self.batches.measured.pictures)
        self.objective.eval()
        try:
            losses = self._validation_losses(count)
        except torch.OutOfMemoryError:
            self.step.forget()
            losses = self._validation_losses(count)
        self.objective.train()
        return sum(losses) / count

    def _validation_losses(self, count: int) -> list[float]:
        with self.masters.averaged(self.average):
            return [float(self.objective(self.batches.validation(index))) for index in range(count)]

    def _go_on_from(self, folder: Path) -> None:
        """Restore everything that a checkpoint holds.

        Raises:
            InputError: it was made with other settings; the message names the first.
            WeightsInvalid: a file is missing, changed or of another form.
        """
        state = checkpoints.read_state(folder)
        refuse_other_settings(state, self.job)
        tensors = checkpoints.read_tensors(folder)
        with torch.no_grad():
            for name, value in tensors["weights"].items():
                self.masters.named[name].copy_(value)
        self.masters.update_model()
        self.optimizer.load_state_dict(tensors["optimizer"])
        self.schedule.load_state_dict(tensors["schedule"])
        if self.average is not None:
            self.average.load_state_dict(tensors["average"])
        if self.accelerator.scaler is not None and tensors["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(tensors["scaler"])
        self.scale = self._scale()
        self.update, self.losses = state.step, LossLog.of(state.losses)
        logger.info("going on from %s", folder.name)

    def _start_trackers(self) -> None:
        self.accelerator.init_trackers("tensorboard", config={"rank": self.options.rank, "seed": self.options.seed})


def train(job: Job, report: Report) -> None:
    """Train in this process until all updates are made.

    Args:
        job: what to do.
        report: called in the first process after each update and each checkpoint. What it raises stops the training.

    Raises:
        TrainingDiverged: the loss is not finite, or far too high.
        OutOfMemory, InputError, WeightsInvalid, StorageError: see `models.errors`.
    """
    output = Path(job.options.output_dir).absolute()
    try:
        checkpoints.sweep(output)
        Training(job, report).run()
    except StorageError as error:
        raise type(error)(f"{error}; {checkpoints.last_whole(output)}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(
                f"no memory left on {job.device} for {job.options.side()} pixels with {in_words(job.options)}"
            ) from error
        raise
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _can_record(job: Job, device: str) -> bool:
    """Whether steps may be recorded: gradient checkpointing reads the generator's state, which no graph can."""
    return device.startswith("cuda") and job.options.speed != "plain" and not job.options.gradient_checkpointing


def _average(weights: list[nn.Parameter], decay: float | None) -> Any:
    """diffusers' moving average of the weights, or None."""
    if decay is None:
        return None
    from diffusers.training_utils import EMAModel

    return EMAModel(weights, decay=decay)
