"""Compare checkpoints: each paints the same prompts as the bare base, CLIP measures the pictures, and one is chosen.

The pictures are painted by the storyboard's own code: the base is read anew for each checkpoint and its LoRA added to
the weights (`models.diffusion.loading`), so what is compared is what will be used. Reading SDXL again costs seconds a
checkpoint, and painting costs minutes. Swapping adapters in a loaded base would save those seconds, but would be a
second way to paint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.diffusion.requests import PainterSetup, PaintRequest
from models.diffusion.weights import base_fingerprint
from models.errors import PaintError
from models.lora.comparison.choice import RULE, Measured, choose, find_failures
from models.lora.comparison.grid import write_grid
from models.lora.comparison.grid_sheet import GridRow, GridTexts
from models.lora.comparison.measuring import measure_all
from models.lora.comparison.sample_prompts import check_prompts, get_prompts
from models.lora.comparison.samples import Painted, SampleFolder, Wanted
from models.lora.options import TrainingOptions
from models.lora.records import Checkpoint, CheckpointScores, Comparison, TrainingSet, checkpoint_name
from models.preflight.devices import batch_size_on
from models.profiles import Precision
from models.progress import StageProgress
from models.records import Adapter, Record
from models.storage.adapters import adapter_files
from models.storage.files import list_names, sha256_of

SAMPLES = "samples"
BASE = "base"
SEED_STEP = 1000
"""From one seed to the next."""

_PAINTING = 0.95  # its share of the whole; the rest is measuring


class EvaluationSetup(Record):
    """The device that checkpoints paint on, and the folder that keeps their pictures."""

    folder: str
    """Gets `samples/` and the grid."""
    device: str
    """cpu, cuda, cuda:N or mps."""
    precision: Precision


def compare(
    options: TrainingOptions,
    training_set: TrainingSet,
    checkpoints: Sequence[Checkpoint],
    setup: EvaluationSetup,
    progress: StageProgress | None = None,
) -> Comparison:
    """Let every checkpoint paint, measure it, and choose the one to publish.

    Pictures that are in the folder already, of the same weights and settings, are not painted again.

    Args:
        options: says profile, prompts, seeds and size.
        training_set: its training pictures are what the character should look like.
        checkpoints: at least one, of different steps, in the order in which they shall be shown.
        setup: where.
        progress: called with what is done and the share of all, 0..1. What it raises stops the work and reaches the
            caller; finished pictures stay.

    Raises:
        ValueError: there is no checkpoint.
        InputError: prompts that do not fit, or a training picture that can't be read.
        PaintError: the base, or every checkpoint, paints numbers that are not finite.
        OutOfMemory, ModelError, ScoreUnavailable, StorageError: see `models.errors`.
    """
    if not checkpoints:
        raise ValueError("there is no checkpoint to compare")
    check_prompts(options)
    report = progress or (lambda what, share: None)
    base, *painted = _paint_all(options, checkpoints, setup, report)
    _refuse_broken(base, painted, setup.precision)
    measurements = measure_all(
        options, training_set, setup.device, (base, *painted), lambda what: report(what, _PAINTING)
    )
    base_scores, *rows = measurements.rows
    chosen, reason = choose(rows, measurements.references)
    failed = [find_failures(row, measurements.references) for row in rows]
    shown = [GridRow(BASE, base_scores, (), base)]
    for row, failures, pictures in zip(rows, failed, painted, strict=True):
        shown.append(GridRow(checkpoint_name(row.step), row, failures, pictures))
    prompts = get_prompts(options)
    texts = GridTexts(f"Checkpoints of {options.character()}", reason, prompts.character, prompts.unrelated)
    grid = write_grid(Path(setup.folder), texts, shown, chosen + 1)
    report(reason, 1.0)
    scores = tuple(map(_scores, checkpoints, rows, failed))
    return Comparison(rows=scores, chosen=checkpoints[chosen], reason=reason, rule=RULE, grid=str(grid))


def read_adapter(checkpoint: Checkpoint) -> Adapter:
    """A checkpoint's LoRA. Its fingerprint covers the LoRA's own files, not the state for resuming.

    Raises:
        ObjectNotFound: there is none, or a piece is missing.
        WeightsInvalid, StorageError: it can't be read.
    """
    folder = Path(checkpoint.path)
    total = hashlib.sha256()
    for name in adapter_files(list_names(folder), str(folder)):
        total.update(f"{len(name)}:{name}{sha256_of(folder / name)}".encode())
    return Adapter(path=str(folder), fingerprint=total.hexdigest(), source=checkpoint.path)


def _paint_all(
    options: TrainingOptions, checkpoints: Sequence[Checkpoint], setup: EvaluationSetup, report: StageProgress
) -> list[Painted]:
    """What the base painted, then each checkpoint. No model stays loaded: the next stage may need the memory."""
    from models.diffusion.loading import unload

    fingerprint = base_fingerprint(options.get_profile())
    painters = [(0, None), *((checkpoint.step, read_adapter(checkpoint)) for checkpoint in checkpoints)]
    share = _PAINTING / len(painters)
    painted: list[Painted] = []
    try:
        for step, adapter in painters:
            before = len(painted)

            def report_part(what: str, done: float, before: int = before) -> None:
                report(what, (before + done) * share)

            place = Path(setup.folder) / SAMPLES / (BASE if adapter is None else checkpoint_name(step))
            folder = SampleFolder(place, _painter_setup(options, setup, adapter), fingerprint)
            painted.append(_paint_one(options, step, folder, report_part))
    finally:
        unload()
    return painted


def _paint_one(options: TrainingOptions, step: int, folder: SampleFolder, report: StageProgress) -> Painted:
    """The pictures of one checkpoint, or of the base."""
    prompts = get_prompts(options)
    wanted = [
        [Wanted(number, request) for request in _requests(options, prompt)]
        for number, prompt in enumerate((*prompts.character, *prompts.unrelated), start=1)
    ]
    samples = folder.paint([picture for pictures in wanted for picture in pictures], report)
    found = tuple(tuple(samples[picture] for picture in pictures) for pictures in wanted)
    of_character = len(prompts.character)
    return Painted(step=step, character=found[:of_character], unrelated=found[of_character:])


def _painter_setup(options: TrainingOptions, setup: EvaluationSetup, adapter: Adapter | None) -> PainterSetup:
    profile = options.get_profile()
    return PainterSetup(
        profile=profile,
        adapter=adapter,
        device=setup.device,
        precision=setup.precision,
        with_controlnet=False,
        batch_size=batch_size_on(setup.device, profile),
    )


def _requests(options: TrainingOptions, prompt: str) -> Iterator[PaintRequest]:
    """A prompt with all its seeds, painted as the profile paints frames."""
    profile = options.get_profile()
    for number in range(options.validation_seeds):
        yield PaintRequest(
            prompt=prompt,
            negative_prompt=profile.negative_prompt,
            seed=options.seed + number * SEED_STEP,
            size=options.side(),
            original_scale=profile.original_scale,
            steps=profile.steps,
            guidance=profile.guidance,
            control=None,
        )


def _refuse_broken(base: Painted, painted: Sequence[Painted], precision: Precision) -> None:
    """Raise if the base or every checkpoint paints broken numbers; a single broken checkpoint is ranked last."""
    if base.broken:
        raise PaintError(
            f"the bare base painted {base.broken} picture(s) of numbers that are not finite in {precision}, so there "
            "is nothing to compare with; paint in bf16 or fp32"
        )
    if all(row.broken for row in painted):
        raise PaintError(
            f"every checkpoint painted numbers that are not finite in {precision}, and the bare base none; train anew "
            "with a lower learning_rate, or paint in bf16 or fp32"
        )


def _scores(checkpoint: Checkpoint, row: Measured, failed: tuple[str, ...]) -> CheckpointScores:
    return CheckpointScores(
        checkpoint=checkpoint,
        image_similarity=row.image_similarity,
        text_image_similarity=row.text_image_similarity,
        variety=row.variety,
        drift=row.drift,
        failed=failed,
    )
