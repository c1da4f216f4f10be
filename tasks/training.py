"""The stages of a training: each one call into `models/lora`, with log lines and artifacts."""

from __future__ import annotations

import time
from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run

from models.language.prompts import token_counter
from models.lora import preflight
from models.lora.buckets import buckets_in_words, places_in_a_pass
from models.lora.configuration.accelerate_settings import AccelerateSettings
from models.lora.configuration.config_files import notes
from models.lora.options import TrainingOptions
from models.lora.records import Checkpoint, Comparison, Published, TrainingSet
from models.lora.training import checkpoints, pages
from models.lora.training.belonging import checkpoints_of, training_of
from models.lora.training.job import Job, Tick, updates_of
from models.secrets.keys import Keys
from tasks.artifacts import show_page, show_table
from tasks.progress import InQuarters, Show, showing
from tasks.retries import RETRYING

_TOLD_EVERY = 20.0
"""Seconds between two log lines while training or comparing."""


@task(name="checks", **RETRYING)
def check_training(options: TrainingOptions, settings: AccelerateSettings | None, run: str) -> None:
    """Check packages, folders, checkpoints, prompts, the place of publication, the base, disk and device.

    Raises:
        ChecksFailed: holds all problems.
    """
    preflight.require(options, settings, Keys(), run)
    if fallback := preflight.find_fallback(options, settings):
        get_run_logger().warning("%s", fallback)
    get_run_logger().info("all checks passed: profile %s", options.get_profile().name)


@task(name="pictures", **RETRYING)
def read_pictures(options: TrainingOptions, settings: AccelerateSettings | None) -> TrainingSet:
    """Return the captioned pictures, and show them as a contact sheet in the dashboard.

    Raises:
        DatasetInvalid: holds all faults, by file.
        InputError: there is only one picture, or too few updates for the schedule.
    """
    from models.lora.data.dataset import read_set, require_enough
    from models.lora.data.set_sheet import set_markdown, set_sheet

    training_set = read_set(options, token_counter(options.get_profile()))
    require_enough(training_set)
    processes = settings.num_processes if settings else 1
    places = places_in_a_pass(training_set, options.train_batch_size)
    updates_of(options, places, processes)
    show_page("training-pictures", set_markdown(training_set, set_sheet(training_set)), "The training set")
    for note in (*notes(options, places, processes), buckets_in_words(training_set, options.train_batch_size)):
        if note:
            get_run_logger().info("%s", note)
    get_run_logger().info(
        "%d pictures for training, %d for validation, %d for prior preservation",
        len(training_set.train),
        len(training_set.validation),
        len(training_set.prior),
    )
    return training_set


@task(name="latents", **RETRYING)
def encode_latents(options: TrainingOptions, settings: AccelerateSettings | None, training_set: TrainingSet) -> None:
    """Encode every picture into the VAE's latents, except those that are stored already.

    Raises:
        WeightsInvalid, OutOfMemory, StorageError: see `models.errors`.
    """
    from models.lora.data.latents import encode_set

    device = preflight.choose_training_device(options, settings)
    with showing("latents", "Encoding the pictures") as show:
        encode_set(options, training_set, device, show)


def _train_name() -> str:
    options: TrainingOptions = task_run.parameters["options"]
    return f"train {options.character()}: rank {options.rank}, learning rate {options.learning_rate:g}"


@task(name="train", task_run_name=_train_name, **RETRYING)
def train_character(
    options: TrainingOptions, settings: AccelerateSettings | None, training_set: TrainingSet, run: str
) -> list[Checkpoint]:
    """Train, and return the kept checkpoints; a retry resumes from the last complete one.

    Raises:
        TrainingError, OutOfMemory, InputError, StorageError: see `models.errors`.
    """
    from models.diffusion.weights import base_fingerprint
    from models.lora.training import launcher

    output = Path(options.output_dir).absolute()
    again = (task_run.run_count or 1) > 1 or (flow_run.run_count or 1) > 1
    start = checkpoints.find_start(output, checkpoints.LATEST if again else options.resume_from_checkpoint)
    device = preflight.choose_training_device(options, settings)
    processes = settings.num_processes if settings else 1
    job = Job(
        options=options,
        training_set=training_set,
        base=base_fingerprint(options.get_profile()),
        updates=updates_of(options, places_in_a_pass(training_set, options.train_batch_size), processes),
        mixed_precision=preflight.choose_mixed_precision(settings, device),
        device=device,
        processes=processes,
        run=run,
        training=training_of(start, run),
        start=None if start is None else str(start),
    )
    with showing("training", f"Training {options.character()}") as show:
        watch = _Watch(job, show)
        try:
            launcher.run(job, watch, settings)
        except BaseException as error:
            get_run_logger().warning("stopped (%s): %s", type(error).__name__, checkpoints.last_whole(output))
            raise
    return checkpoints_of(output, job)


@task(name="compare checkpoints", **RETRYING)
def compare_checkpoints(
    options: TrainingOptions,
    settings: AccelerateSettings | None,
    training_set: TrainingSet,
    trained: list[Checkpoint],
) -> Comparison:
    """Paint the same prompts with every checkpoint, score the pictures, and choose the best checkpoint.

    Raises:
        ScoreUnavailable, PaintError, OutOfMemory: see `models.errors`.
    """
    from models.lora.comparison.evaluation import EvaluationSetup, compare
    from models.lora.comparison.grid import comparison_markdown, comparison_rows

    device = preflight.choose_training_device(options, settings)
    setup = EvaluationSetup(
        folder=str(Path(options.output_dir).absolute()),
        device=device,
        precision=preflight.choose_painting_precision(options, device),
    )
    with showing("comparison", "Painting with every checkpoint") as show:
        comparison = compare(options, training_set, trained, setup, _Comparing(show))
    show_table("checkpoints", comparison_rows(comparison), "Every checkpoint's scores")
    show_page(
        "checkpoint-grid",
        comparison_markdown(comparison, Path(comparison.grid).read_bytes()),
        "Pictures of every checkpoint, and the chosen one",
    )
    get_run_logger().info("%s: %s", Path(comparison.chosen.path).name, comparison.reason)
    return comparison


@task(name="publish", **RETRYING)
def publish_character(options: TrainingOptions, training_set: TrainingSet, comparison: Comparison) -> Published:
    """Publish the chosen checkpoint in all supported formats.

    Raises:
        TrainingError: it failed the comparison, and publish_anyway is off.
        InputError: another publication is there, and replace is off.
        StorageError: see `models.errors`; readers never take an incomplete publication.
    """
    from models.lora.publishing.publish import character_of, publish, refuse_failed

    refuse_failed(options, comparison)
    character = character_of(options, training_set, comparison)
    progress = InQuarters("publishing")
    published = publish(character, options.publish_to, keys=Keys(), progress=progress, replace=options.replace)
    get_run_logger().info("published: %s\n%s", published.location, "\n".join(published.files))
    return published


class _NowAndThen:
    """Returns True at most once in `_TOLD_EVERY` seconds."""

    def __init__(self) -> None:
        self.told = 0.0

    def __call__(self) -> bool:
        """Whether it is time for another log line."""
        if time.monotonic() - self.told < _TOLD_EVERY:
            return False
        self.told = time.monotonic()
        return True


class _Comparing:
    """Shows the comparison's progress: a bar in the dashboard and occasional log lines."""

    def __init__(self, show: Show) -> None:
        self.show, self.log, self.due = show, get_run_logger(), _NowAndThen()

    def __call__(self, what: str, share: float) -> None:
        """Show the current work and the share of the comparison that is done."""
        self.show(share)
        if self.due():
            self.log.info("%s (%.0f %% of the comparison)", what, 100 * share)


class _Watch:
    """Shows a training's progress: a bar, occasional log lines, and the loss curve at every checkpoint."""

    def __init__(self, job: Job, show: Show) -> None:
        self.job, self.show = job, show
        self.log = get_run_logger()
        self.due = _NowAndThen()
        self.seconds: float | None = None
        """Latest reported seconds per step."""

    def __call__(self, tick: Tick) -> None:
        """Show a report of the training."""
        if tick.checkpoint is not None:
            self._show_curve(tick.checkpoint)
            return
        self.seconds = tick.seconds_a_step
        self.show(tick.step / self.job.updates)
        if self.due() or tick.step == self.job.updates:
            self.log.info("%s", pages.tick_line(tick, self.job.updates))

    def _show_curve(self, checkpoint: Checkpoint) -> None:
        page = pages.curve_page(checkpoints.peek(Path(checkpoint.path)).losses, checkpoint, self.seconds)
        show_page("loss-curve", page, "Loss, learning rate and speed")
        validation = "" if checkpoint.validation_loss is None else f", validation loss {checkpoint.validation_loss:.4f}"
        self.log.info("checkpoint-%d: loss %.4f%s", checkpoint.step, checkpoint.loss, validation)
