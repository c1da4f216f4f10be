"""What is trained: the loss is diffusers' own, options do what they say, and a training that runs away is stopped."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from training_runs import draw_pictures, make_job, run

from models.errors import TrainingDiverged, TrainingError
from models.lora.data.latents import encode_set
from models.lora.network.lora_model import LoraModel, load_lora_model
from models.lora.options import TrainingOptions
from models.lora.publishing.export import write_folders
from models.lora.training.batches import Batches, Place, pictures_at
from models.lora.training.checkpoints import read_tensors
from models.lora.training.divergence import Watch, remedy
from models.lora.training.job import Job, Tick, updates_of
from models.lora.training.loop import Training
from models.lora.training.objective import Batch, NoisePrediction

tiny_world = tiny_models.tiny_world
pytestmark = pytest.mark.usefixtures("tiny_world")
FIRST_LOSSES = [1.0655, 1.1501, 0.9955, 1.1354, 0.9518, 1.1329, 1.1180, 0.9439, 1.1024, 1.1458, 1.2708, 1.0771]
"""Of a training with all defaults on the tiny models; a change of code must keep them, or say why it does not."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


def begin(job: Job) -> tuple[LoraModel, Batches]:
    """A LoRA model whose LoRA already says something, and its batches."""
    lora_model = load_lora_model(job.options, "cpu", "no")
    with torch.no_grad():
        for name, weight in lora_model.masters.named.items():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    store = encode_set(job.options, job.training_set, "cpu")
    return lora_model, Batches(job.options, job.training_set, store, lora_model, "cpu")


def gradients(lora_model: LoraModel, loss: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, lora_model.masters.weights, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def peers_loss(lora_model: LoraModel, batch: Batch, captions: list[str], gamma: float | None) -> Tensor:
    """The loss as diffusers' own LoRA script for SDXL computes it, with its pipeline reading the captions."""
    from diffusers import StableDiffusionXLPipeline
    from diffusers.training_utils import compute_snr

    scheduler, unet = lora_model.scheduler, lora_model.parts["unet"]
    pipeline = StableDiffusionXLPipeline(
        vae=None, unet=unet, scheduler=scheduler, add_watermarker=False,
        text_encoder=lora_model.parts["text_encoder"], text_encoder_2=lora_model.parts["text_encoder_2"],
        tokenizer=lora_model.tokenizers[0], tokenizer_2=lora_model.tokenizers[1],
    )  # fmt: skip
    hidden, _, pooled, _ = pipeline.encode_prompt(captions, do_classifier_free_guidance=False)
    noisy = scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
    added = {"time_ids": batch.time_ids, "text_embeds": pooled}
    predicted = unet(noisy, batch.timesteps, hidden, added_cond_kwargs=added, return_dict=False)[0]
    if gamma is None:
        plain: torch.Tensor = functional.mse_loss(predicted.float(), batch.noise.float(), reduction="mean")
        return plain
    snr = compute_snr(scheduler, batch.timesteps)
    weights = torch.stack([snr, gamma * torch.ones_like(batch.timesteps)], dim=1).min(dim=1)[0] / snr
    loss = functional.mse_loss(predicted.float(), batch.noise.float(), reduction="none")
    weighted: torch.Tensor = (loss.mean(dim=list(range(1, len(loss.shape)))) * weights).mean()
    return weighted


def captions_of(job: Job, place: Place) -> list[str]:
    """Captions of the pictures in a batch."""
    from models.lora.training.batches import seed_of

    size, train = job.options.train_batch_size, job.training_set.train
    number = place.batch_number(job.options)
    rows = pictures_at(number * size, size, len(train), seed_of(job.options.seed, "order"))
    return [train[row].caption for row in rows]


@pytest.mark.parametrize("gamma", [None, 5.0])
def test_loss_and_gradients_are_the_peers(pictures: Path, tmp_path: Path, gamma: float | None) -> None:
    job = make_job(tmp_path, pictures, dropout=0.0, min_snr_gamma=gamma)
    lora_model, batches = begin(job)
    place = Place(update=3, part=0, process=0, processes=1)
    (batch,) = batches.draw(place)
    ours = NoisePrediction(lora_model, gamma)(batch)
    theirs = peers_loss(lora_model, batch, captions_of(job, place), gamma)
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-6)
    pairs = list(zip(gradients(lora_model, ours), gradients(lora_model, theirs), strict=True))
    assert len(pairs) > 10
    for own, peer in pairs:
        torch.testing.assert_close(own, peer, rtol=1e-4, atol=1e-7)
    assert any(bool(own.abs().max() > 1e-5) for own, _ in pairs)


def test_the_first_losses_stay(pictures: Path, tmp_path: Path) -> None:
    told = run(make_job(tmp_path, pictures))
    assert told.losses == pytest.approx(FIRST_LOSSES, abs=2e-4)


def test_a_batch_is_drawn_from_its_place_alone(pictures: Path, tmp_path: Path) -> None:
    _, batches = begin(make_job(tmp_path, pictures))
    place = Place(update=2, part=0, process=0, processes=1)
    (one,), (again,), (other,) = (batches.draw(each) for each in (place, place, replace(place, update=3)))
    assert torch.equal(one.noise, again.noise) and torch.equal(one.latents, again.latents)
    assert not torch.equal(one.noise, other.noise)


def test_every_pass_shows_every_picture_once() -> None:
    first, second = pictures_at(0, 10, 10, seed=1), pictures_at(10, 10, 10, seed=1)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert pictures_at(5, 10, 10, seed=1) == [*first[5:], *second[:5]]


def test_processes_and_accumulated_parts_see_other_pictures() -> None:
    options = TrainingOptions(gradient_accumulation_steps=2)
    places = [Place(update, part, process, 3) for update in range(2) for part in range(2) for process in range(3)]
    assert [place.batch_number(options) for place in places] == list(range(12))


def loss_of(pictures: Path, output: Path, **changes: Any) -> float:
    job = make_job(output, pictures, dropout=0.0, **changes)
    lora_model, batches = begin(job)
    (batch,) = batches.draw(Place(0, 0, 0, 1))
    return float(NoisePrediction(lora_model, job.options.min_snr_gamma)(batch).detach())


def test_options_change_what_they_say(pictures: Path, tmp_path: Path) -> None:
    plain = loss_of(pictures, tmp_path)
    assert loss_of(pictures, tmp_path) == plain
    for changes in ({"min_snr_gamma": 0.1}, {"noise_offset": 0.5}, {"caption_dropout": 0.99}, {"random_flip": True}):
        assert loss_of(pictures, tmp_path, **changes) != plain, changes


def test_prior_pictures_add_their_loss(pictures: Path, tmp_path: Path) -> None:
    prior = draw_pictures(tmp_path / "prior", 3, trigger="a man")
    job = make_job(tmp_path, pictures, prior_data_dir=str(prior), prior_loss_weight=0.5)
    _, batches = begin(job)
    (batch,) = batches.draw(Place(0, 0, 0, 1))
    assert batch.shares.tolist() == [0.5, 0.5, 0.25, 0.25]
    assert loss_of(pictures, tmp_path, prior_data_dir=str(prior)) > loss_of(pictures, tmp_path) * 1.5


def test_gradient_checkpointing_changes_nothing_but_memory(pictures: Path, tmp_path: Path) -> None:
    plain = run(make_job(tmp_path / "plain", pictures, max_train_steps=3))
    spared = run(make_job(tmp_path / "spared", pictures, max_train_steps=3, gradient_checkpointing=True))
    assert spared.losses == plain.losses


def test_accumulated_parts_make_one_update(pictures: Path, tmp_path: Path) -> None:
    told = run(make_job(tmp_path, pictures, max_train_steps=4, gradient_accumulation_steps=3))
    assert len(told.losses) == 4
    assert told.checkpoints == [4]


def test_the_fused_optimizer_is_the_same_one(pictures: Path, tmp_path: Path) -> None:
    plain = run(make_job(tmp_path / "plain", pictures))
    fused = run(make_job(tmp_path / "fused", pictures, optimizer="adamw_fused"))
    assert fused.losses == pytest.approx(plain.losses, rel=1e-4)


def saved(folder: Path) -> Tensor:
    return torch.cat([value.flatten() for value in load_file(folder / "unet_lora/adapter_model.safetensors").values()])


def test_the_moving_average_is_what_is_saved(pictures: Path, tmp_path: Path) -> None:
    run(make_job(tmp_path / "plain", pictures, save_precision="fp32"))
    run(make_job(tmp_path / "average", pictures, save_precision="fp32", ema_decay=0.99))
    plain, average = saved(tmp_path / "plain/checkpoint-12"), saved(tmp_path / "average/checkpoint-12")
    start = saved(tmp_path / "average/checkpoint-4")
    assert plain.dtype == torch.float32
    assert 0 < float((average - start).norm()) < float((plain - start).norm())


def test_a_checkpoint_has_its_alpha_in_its_weights(pictures: Path, tmp_path: Path) -> None:
    run(make_job(tmp_path, pictures, alpha=3, save_precision="fp32"))
    folder = tmp_path / "checkpoint-12"
    masters = read_tensors(folder)["weights"]
    config = json.loads((folder / "unet_lora/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 4)
    for name, value in load_file(folder / "unet_lora/adapter_model.safetensors").items():
        own = masters["unet." + name.removeprefix("base_model.model.").replace(".weight", ".default.weight")]
        assert torch.equal(value, own * (0.75 if "lora_B" in name else 1))
    write_folders(folder, tmp_path / "published")
    for file in sorted(path.relative_to(folder) for path in folder.glob("*_lora/*")):
        assert (tmp_path / "published" / file).read_bytes() == (folder / file).read_bytes()


def test_a_number_that_its_precision_can_not_hold_is_never_saved(pictures: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, pictures, max_train_steps=3)
    encode_set(job.options, job.training_set, "cpu")
    training = Training(job, lambda tick: None)
    with torch.no_grad():
        training.weights[0][0, 0] = 1e6
    with pytest.raises(TrainingError, match=r"save_precision: .* too large for torch\.float16; set it to bf16 or fp32"):
        training.run()
    assert not list(tmp_path.glob("checkpoint-*"))


def test_the_learning_rate_warms_up_and_falls(pictures: Path, tmp_path: Path) -> None:
    rates = [tick.learning_rate for tick in run(make_job(tmp_path, pictures)).ticks if tick.learning_rate is not None]
    assert rates[:3] == pytest.approx([0.0, 5e-3, 1e-2])
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_a_training_that_runs_away_is_stopped(pictures: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, pictures, learning_rate=1.0, alpha=4096, warmup_steps=0, lr_scheduler="constant")
    said = r"^step \d+: the loss is .*; .* To avoid it, lower learning_rate \(1\), and train anew"
    with pytest.raises(TrainingDiverged, match=said):
        run(job)


@pytest.mark.parametrize("validated", [True, False])
def test_a_checkpoint_that_ran_away_is_not_written(pictures: Path, tmp_path: Path, validated: bool) -> None:
    job = make_job(tmp_path, pictures, max_train_steps=3, warmup_steps=1)
    if not validated:
        job = job.model_copy(update={"training_set": job.training_set.model_copy(update={"validation": ()})})
    encode_set(job.options, job.training_set, "cpu")

    def begin_lower(tick: Tick) -> None:
        """As a base that knows such pictures: a random one's loss is about 1 at first, and never much more."""
        assert training.watch.start == pytest.approx(1, abs=0.3)
        training.watch.start -= 0.9

    training = Training(job, lambda tick: begin_lower(tick) if tick.step == 1 else None)
    with pytest.raises(
        TrainingDiverged, match=r"step 3: the loss is [\d.e+]+, \d+ times the 0\.\d+ that it began with"
    ):
        training.run()
    assert not list(tmp_path.glob("checkpoint-*"))


def test_weights_that_are_no_numbers_are_never_saved(pictures: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, pictures)
    encode_set(job.options, job.training_set, "cpu")

    def poison(tick: Tick) -> None:
        if tick.step == 7:
            with torch.no_grad():
                training.weights[0].fill_(math.nan)

    training = Training(job, poison)
    with pytest.raises(TrainingDiverged, match="step 8: the loss is not a finite number; checkpoint-4 is"):
        training.run()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]


def test_what_counts_as_running_away() -> None:
    watch = Watch(1.0)
    assert [watch.fault(1.0, skipped=False) for _ in range(12)] == [None] * 12
    assert watch.fault(math.nan, skipped=False) == "the loss is not a finite number"
    watch = Watch(0.04)
    assert [watch.fault(2.0, skipped=False) for _ in range(10)] == [None] * 9 + [
        "the loss is 2, 50 times the 0.04 that it began with"
    ]
    assert watch.fault_of_checkpoint(0.159) is None
    assert watch.fault_of_checkpoint(0.2) == "the loss is 0.2, 5 times the 0.04 that it began with"
    preserving = Watch(0.04, more=101)
    assert [preserving.fault(2.0, skipped=False) for _ in range(12)] == [None] * 12
    watch = Watch(1.0)
    assert [watch.fault(1.0, skipped=True) for _ in range(21)][-1] == "21 updates in a row overflowed"


def test_what_is_advised_is_what_the_fault_shows() -> None:
    assert remedy(1, "fp16", "the loss is 2, 50 times the 0.04 that it began with") == "lower learning_rate (1)"
    for fault in ("the loss is not a finite number", "21 updates in a row overflowed"):
        assert remedy(1e-4, "fp16", fault) == "lower learning_rate (0.0001), or set mixed_precision to bf16 (fp16 now)"
        assert remedy(1e-4, "bf16", fault) == "lower learning_rate (0.0001)"


def test_how_many_updates_there_are() -> None:
    assert updates_of(TrainingOptions(), 70, 1) == 1000
    epochs = TrainingOptions(max_train_steps=None, num_train_epochs=2)
    assert updates_of(epochs, 70, 1) == 35
    assert updates_of(epochs, 70, 2) == 18
