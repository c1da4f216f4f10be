"""Training in aspect buckets: which sizes there are, what each batch holds, and that a training goes on exactly."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image
from pydantic import ValidationError
from test_training_resume import ALL
from training_runs import assert_equal_to_the_bit, draw_pictures, make_job, run

from models.errors import DatasetInvalid, InputError
from models.lora.buckets import bucket_sizes, buckets_in_words, nearest_size, places_in_a_pass, usual_step
from models.lora.configuration.config_files import notes, training_options
from models.lora.data.dataset import read_set
from models.lora.data.latents import encode_set, open_store
from models.lora.data.pictures import crop_of, prepare
from models.lora.data.set_sheet import set_markdown, set_sheet
from models.lora.network.lora_model import load_lora_model
from models.lora.options import TrainingOptions
from models.lora.records import TrainingPicture, TrainingSet
from models.lora.training import checkpoints
from models.lora.training.batches import Batches, Place, places_in_bucket
from models.lora.training.job import Job, Tick, updates_of
from models.lora.training.memory import training_memory
from models.lora.training.objective import NoisePrediction
from models.sizes import Size

tiny_world = tiny_models.tiny_world
SHAPES = ((64, 64), (50, 90), (90, 60))
"""Their buckets at a resolution of 64: 64x64, 48x80 and 80x48."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"), sizes=SHAPES)


# --- sizes


def test_sdxls_buckets_are_those_it_was_trained_on() -> None:
    sizes = TrainingOptions(profile="sdxl", aspect_buckets=True).sizes()
    assert {(1024, 1024), (1152, 896), (832, 1216), (1344, 768), (640, 1536), (512, 2048), (2048, 512)} <= set(sizes)
    assert all(side % 64 == 0 and 512 <= side <= 2048 for size in sizes for side in size)
    assert all(0.85 < width * height / 1024**2 <= 1 for width, height in sizes)
    assert [(height, width) for width, height in reversed(sizes)] == list(sizes)


def test_the_limits_follow_the_resolution_or_what_is_given() -> None:
    small = TrainingOptions(profile="steppe", aspect_buckets=True)
    assert small.side() == 256
    assert small.sizes() == bucket_sizes(256, 128, 512, 16)
    assert (usual_step(1024), usual_step(512), usual_step(256), usual_step(64)) == (64, 32, 16, 8)
    given = small.model_copy(update={"bucket_min_side": 200, "bucket_max_side": 320, "bucket_step": 32})
    assert given.sizes() == ((224, 288), (256, 256), (288, 224))
    assert TrainingOptions(profile="steppe").sizes() == ((256, 256),)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bucket_step": 64}, "bucket_step belongs to aspect_buckets, which is false"),
        (
            {"aspect_buckets": True, "bucket_max_side": 200},
            "no bucket of about 256x256 pixels has sides of 128 to 200 in steps of 16",
        ),
        ({"aspect_buckets": True, "bucket_step": 12}, "multiple of 8"),
    ],
)
def test_buckets_that_cannot_be_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TrainingOptions.model_validate({"profile": "steppe", **changes})


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((3000, 3000), (1024, 1024)),
        ((4000, 3000), (1152, 896)),
        ((3000, 4000), (896, 1152)),
        ((1920, 1080), (1344, 768)),
        ((2390, 1000), (1536, 640)),
        ((100, 9000), (512, 2048)),
    ],
)
def test_a_picture_goes_to_the_bucket_of_the_nearest_shape(size: Size, bucket: Size) -> None:
    assert nearest_size(*size, TrainingOptions(profile="sdxl", aspect_buckets=True).sizes()) == bucket


def test_a_crop_covers_its_bucket_from_the_middle() -> None:
    crop = crop_of(4000, 3000, Size(1152, 896))
    assert (crop.scaled_width, crop.scaled_height, crop.left, crop.top) == (1195, 896, 21, 0)
    for width in range(64, 400, 7):
        for height in range(64, 400, 9):
            crop = crop_of(width, height, Size(80, 48))
            assert crop.scaled_width == 80 or crop.scaled_height == 48
            assert 0 <= crop.left <= crop.scaled_width - 80
            assert 0 <= crop.top <= crop.scaled_height - 48
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 80, 3), dtype=np.uint8))
    assert prepare(noise, Size(80, 48)).tobytes() == noise.crop((0, 1, 80, 49)).tobytes()


def test_a_records_bucket_is_a_size_and_is_written_as_before() -> None:
    text = '{"file":"/a.png","sha256":"","caption":"aldar","width":50,"height":90,"bucket":[48,80]}'
    picture = TrainingPicture.model_validate_json(text)
    assert picture.bucket == Size(48, 80)
    assert str(picture.bucket) == "48x80"
    assert picture.model_dump(mode="json")["bucket"] == [48, 80]


# --- the set


def read(folder: Path, **changes: Any) -> TrainingSet:
    fields = {"train_data_dir": str(folder), "resolution": 64, "aspect_buckets": True, **changes}
    return read_set(TrainingOptions.model_validate(fields), lambda text: len(text.split()))


def test_each_picture_knows_its_bucket_and_the_page_counts_them(pictures: Path, tmp_path: Path) -> None:
    found = read(pictures)
    assert Counter(one.bucket for one in found.train) == {(64, 64): 3, (48, 80): 3, (80, 48): 2}
    squares = read(draw_pictures(tmp_path), aspect_buckets=False)
    assert all(one.bucket is None for one in squares.train)
    assert "bucket" not in set_markdown(squares, b"")
    page = set_markdown(found, set_sheet(found))
    assert "| bucket | train |\n| --- | ---: |\n| 48x80 | 3 |\n| 64x64 | 3 |\n| 80x48 | 2 |\n" in page
    assert buckets_in_words(found, 2) == (
        "pictures in aspect buckets: 48x80: 3, 64x64: 3, 80x48: 2; 2 of a pass's 5 batches have fewer than 2"
    )
    assert buckets_in_words(squares, 2) == ""


def test_a_picture_too_small_for_its_bucket_is_named(tmp_path: Path) -> None:
    draw_pictures(tmp_path, 2, sizes=((150, 90), (79, 47)))
    with pytest.raises(DatasetInvalid) as caught:
        read(tmp_path, resolution=128)
    larger, smaller = caught.value.faults
    few = "150x90 pixels, too few for its bucket of 160x96; take a larger picture, or set resolution to 112 or less"
    assert larger == f"000.png: {few}"
    assert smaller == "001.png: 79x47 pixels, too few for its bucket of 160x96; take a larger picture"


def test_a_pass_is_counted_in_batches_of_one_bucket(pictures: Path, tmp_path: Path) -> None:
    found = read(pictures)
    assert (found.shown_in_a_pass, places_in_a_pass(found, 2)) == (8, 10)
    assert places_in_a_pass(read(draw_pictures(tmp_path), aspect_buckets=False), 3) == 8
    two = TrainingOptions(aspect_buckets=True, max_train_steps=None, num_train_epochs=4, train_batch_size=2)
    assert updates_of(two, places_in_a_pass(found, 2), 1) == 20
    assert updates_of(two, places_in_a_pass(found, 2), 2) == 10
    told = notes(TrainingOptions(aspect_buckets=True, train_batch_size=2, max_train_steps=20), 10)
    assert "20 updates of 2 pictures at most are 4 epochs of 10 pictures at most; " in "\n".join(told)


def test_the_configuration_file_takes_them(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("data:\n  aspect_buckets: true\n  bucket_step: 32\n", encoding="utf-8")
    options = training_options({}, tmp_path / "mine.yaml")
    assert (options.aspect_buckets, options.bucket_step) == (True, 32)


def test_no_bucket_takes_more_memory_than_the_square() -> None:
    square = TrainingOptions(profile="sdxl", prior_data_dir="prior")
    buckets = square.model_copy(update={"aspect_buckets": True})
    alone = square.model_copy(update={"prior_data_dir": None})
    assert training_memory(buckets, "fp16") == training_memory(alone, "fp16") < training_memory(square, "fp16")


# --- batches


def test_every_pass_shows_every_picture_once_and_no_batch_has_two_buckets() -> None:
    buckets = [[0, 1, 2, 3, 4], [5], [6, 7, 8]]
    batches = [places_in_bucket(number, 2, buckets, seed=1) for number in range(12)]
    for epoch in (batches[:6], batches[6:]):
        assert sorted(picture for batch in epoch for picture in batch) == list(range(9))
        assert sorted(map(len, epoch)) == [1, 1, 1, 2, 2, 2]
        assert all(any(set(batch) <= set(bucket) for bucket in buckets) for batch in epoch)
    assert batches[:6] != batches[6:]
    assert batches[7] == places_in_bucket(7, 2, buckets, seed=1)
    assert [places_in_bucket(number, 2, buckets, seed=2) for number in range(6)] != batches[:6]


def begin(job: Job) -> Batches:
    store = encode_set(job.options, job.training_set, "cpu")
    return Batches(job.options, job.training_set, store, load_lora_model(job.options, "cpu", "no"), "cpu")


@pytest.mark.usefixtures("tiny_world")
def test_a_batch_is_of_one_size_and_says_the_truth_about_each_picture(pictures: Path, tmp_path: Path) -> None:
    batches = begin(make_job(tmp_path, pictures, aspect_buckets=True, caption_dropout=0.5, noise_offset=0.1))
    told: dict[Size, list[float]] = {}
    for number in range(3):
        (batch,) = batches.draw(Place(number, 0, 0, 1))
        height, width = (8 * side for side in batch.latents.shape[2:])
        assert batch.noise.shape == batch.latents.shape == (2, 4, height // 8, width // 8)
        assert math.isclose(float(batch.shares.sum()), 1)
        for row in batch.time_ids.tolist():
            told[Size(width, height)] = row
    assert told == {
        (64, 64): [64, 64, 0, 0, 64, 64],
        (48, 80): [90, 50, 3, 0, 80, 48],
        (80, 48): [60, 90, 2, 0, 48, 80],
    }
    sizes = {batches.validation(index).latents.shape for index in range(2)}
    assert sizes == {(8, 4, 8, 8), (8, 4, 10, 6)}


@pytest.mark.usefixtures("tiny_world")
def test_latents_are_kept_by_bucket_and_a_square_bucket_shares_the_squares(pictures: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, pictures, aspect_buckets=True)
    store = encode_set(job.options, job.training_set, "cpu")
    endings = sorted(file.stem.partition("-")[2] for file in store.folder.iterdir())
    assert endings == ["48x80"] * 3 + ["64"] * 3 + ["80x48"] * 2
    square = open_store(job.options.model_copy(update={"aspect_buckets": False}))
    first = job.training_set.train[0]
    assert square.file(first.model_copy(update={"bucket": None})) == store.file(first)


@pytest.mark.usefixtures("tiny_world")
def test_prior_pictures_of_other_shapes_are_a_batch_of_their_own(pictures: Path, tmp_path: Path) -> None:
    prior = draw_pictures(tmp_path / "prior", 3, sizes=((128, 32),), trigger="a man")
    changes: dict[str, Any] = {"aspect_buckets": True, "prior_data_dir": str(prior), "prior_loss_weight": 0.5}
    own, others = begin(make_job(tmp_path, pictures, **changes)).draw(Place(0, 0, 0, 1))
    assert own.shares.tolist() == [0.5, 0.5]
    assert others.latents.shape[2:] == (4, 16)
    assert others.shares.tolist() in ([0.25, 0.25], [0.5])


@pytest.mark.usefixtures("tiny_world")
@pytest.mark.parametrize("aspect_buckets", [True, False])
def test_a_reported_loss_is_the_sum_of_own_and_prior_pictures_in_buckets_as_in_squares(
    pictures: Path, tmp_path: Path, *, aspect_buckets: bool
) -> None:
    prior = draw_pictures(tmp_path / "prior", 3, sizes=SHAPES, trigger="a man")
    changes: dict[str, Any] = {"prior_data_dir": str(prior), "prior_loss_weight": 0.5, "dropout": 0.0}
    accumulated: dict[str, Any] = {
        "aspect_buckets": aspect_buckets,
        "gradient_accumulation_steps": 2,
        "max_train_steps": 3,
    }
    job = make_job(tmp_path / "both", pictures, **changes, **accumulated)
    told = run(job).losses[0]
    objective = NoisePrediction(
        load_lora_model(job.options, "cpu", "no")
    )  # of the first update: the LoRA is nothing yet
    parts = [begin(job).draw(Place(0, part, 0, 1)) for part in (0, 1)]
    assert [len(batches) for batches in parts] == [1 + aspect_buckets] * 2
    assert [sum(float(batch.shares.sum()) for batch in batches) for batches in parts] == pytest.approx([1.5, 1.5])
    with torch.no_grad():
        summed = [sum(float(objective(batch)) for batch in batches) for batches in parts]
    assert told == pytest.approx(sum(summed) / 2, rel=1e-4)


@pytest.mark.usefixtures("tiny_world")
def test_a_bucket_with_fewer_pictures_than_a_batch_still_trains(pictures: Path, tmp_path: Path) -> None:
    told = run(make_job(tmp_path, pictures, aspect_buckets=True, train_batch_size=4))
    assert len(told.losses) == 12
    assert all(map(math.isfinite, told.losses))


# --- going on


@pytest.mark.usefixtures("tiny_world")
def test_an_interrupted_training_goes_on_exactly(pictures: Path, tmp_path: Path) -> None:
    prior = draw_pictures(tmp_path / "prior", 3, sizes=SHAPES, trigger="a man")
    settings = {**ALL, "aspect_buckets": True, "prior_data_dir": str(prior)}
    whole = run(make_job(tmp_path / "whole", pictures, **settings))

    def stop(tick: Tick) -> None:
        if tick.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_job(tmp_path / "cut", pictures, **settings), stop)
    start = checkpoints.find_start(tmp_path / "cut", "latest")
    assert start == tmp_path / "cut" / "checkpoint-4"
    rest = run(make_job(tmp_path / "cut", pictures, start=start, **settings))
    assert rest.losses == whole.losses[4:]
    assert_equal_to_the_bit(tmp_path / "whole" / "checkpoint-12", tmp_path / "cut" / "checkpoint-12")


@pytest.mark.usefixtures("tiny_world")
def test_going_on_in_squares_is_refused(pictures: Path, tmp_path: Path) -> None:
    run(make_job(tmp_path, pictures, aspect_buckets=True, max_train_steps=4))
    square = make_job(tmp_path, pictures, start=tmp_path / "checkpoint-4", max_train_steps=4)
    with pytest.raises(InputError, match="checkpoint-4 was trained with aspect_buckets True, and now it is False"):
        run(square)


def test_a_picture_of_an_earlier_job_has_no_bucket() -> None:
    old = '{"file": "/a.png", "sha256": "a", "caption": "hero", "width": 64, "height": 64}'
    assert TrainingPicture.model_validate_json(old).bucket is None
