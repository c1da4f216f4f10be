"""What each update is made of, drawn anew from the seed and the update's number.

No generator runs through the training, so there is no state of one to keep: an update that is made again after a crash
sees the pictures, noise, timesteps and dropout that it would have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from models.lora.data.latents import LatentStore
from models.lora.network.lora_model import LoraModel
from models.lora.options import TrainingOptions
from models.lora.records import TrainingPicture, TrainingSet
from models.lora.training.objective import Batch
from models.sizes import GRAIN

Row = tuple[TrainingPicture, tuple[Tensor, Tensor]]
"""A picture, and its caption's tokens of either tokenizer."""
VALIDATION_TIMESTEPS = 8
MEASURED = 4
"""Training pictures that are measured if there are no validation pictures."""


def seed_of(seed: int, *purpose: str | int) -> int:
    """A seed for one purpose, 0..2^63, that shares nothing with any other purpose's."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator_of(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator for one purpose."""
    return torch.Generator("cpu").manual_seed(seed_of(seed, *purpose))


def pictures_at(first: int, count: int, total: int, seed: int) -> list[int]:
    """Numbers of `count` pictures from place `first` on, where every pass over all `total` has an order of its own."""
    chosen = []
    for place in range(first, first + count):
        epoch, rank = divmod(place, total)
        order = torch.randperm(total, generator=generator_of(seed, "order", epoch))
        chosen.append(int(order[rank]))
    return chosen


def places_in_bucket(number: int, size: int, buckets: Sequence[Sequence[int]], seed: int) -> list[int]:
    """The pictures of a batch in aspect buckets, where every pass has an order of its own.

    Each pass shuffles every bucket, cuts it into batches, of which the last may be smaller, and shuffles all batches.

    Args:
        number: of the batch, from 0, counted over all passes.
        size: pictures in a batch, at most.
        buckets: of each bucket, the numbers of its pictures.
        seed: of all orders.
    """
    heads = [(bucket, first) for bucket, own in enumerate(buckets) for first in range(0, len(own), size)]
    epoch, rank = divmod(number, len(heads))
    order = torch.randperm(len(heads), generator=generator_of(seed, "batches", epoch))
    bucket, first = heads[int(order[rank])]
    own = buckets[bucket]
    inside = torch.randperm(len(own), generator=generator_of(seed, "order", epoch, bucket))
    return [own[place] for place in inside[first : first + size].tolist()]


@dataclass(frozen=True)
class Place:
    """Which batch of the training this is."""

    update: int
    """Counted from 0."""
    part: int
    """Of gradient accumulation."""
    process: int
    processes: int

    def batch_number(self, options: TrainingOptions) -> int:
        """Counted over all processes and accumulated parts."""
        return (self.update * options.gradient_accumulation_steps + self.part) * self.processes + self.process


class Batches:
    """Draws batches from kept latents and captions that were turned into tokens once."""

    def __init__(
        self,
        options: TrainingOptions,
        training_set: TrainingSet,
        store: LatentStore,
        lora_model: LoraModel,
        device: str,
    ) -> None:
        self.options = options
        self.store = store
        self.device = device
        self.ready: tuple[Place, tuple[Batch, ...]] | None = None
        self.timesteps: int = lora_model.scheduler.config.num_train_timesteps
        self.empty = _tokens(lora_model, [""])
        self.train = _Captioned(training_set.train, lora_model)
        self.prior = _Captioned(training_set.prior, lora_model)
        self.measured = _Captioned(training_set.validation or training_set.train[:MEASURED], lora_model)

    def prepare(self, place: Place) -> None:
        """Draw what this place learns from now, for the `take` that will ask for it."""
        self.ready = (place, self.draw(place))

    def take(self, place: Place) -> tuple[Batch, ...]:
        """What this place learns from: the prepared batches, or drawn now."""
        ready, self.ready = self.ready, None
        return ready[1] if ready is not None and ready[0] == place else self.draw(place)

    def draw(self, place: Place) -> tuple[Batch, ...]:
        """What this place learns from; the same for the same place.

        One batch. With aspect buckets, prior pictures are a second one, as they may be of another size; the place's
        loss is then the sum of both.
        """
        options, number = self.options, place.batch_number(self.options)
        rows = self.rows(self.train, number, "order")
        shares = [1 / len(rows)] * len(rows)
        prior = self.rows(self.prior, number, "prior") if self.prior.pictures else []
        prior_shares = [options.prior_loss_weight / len(prior)] * len(prior) if prior else []
        generator = generator_of(options.seed, "batch", number)
        if not (prior and options.aspect_buckets):
            return (self._drawn([*rows, *prior], [*shares, *prior_shares], generator),)
        return self._drawn(rows, shares, generator), self._drawn(prior, prior_shares, generator)

    def _drawn(self, rows: Sequence[Row], shares: Sequence[float], generator: torch.Generator) -> Batch:
        options = self.options
        unsaid = torch.rand(len(rows), generator=generator) < options.caption_dropout
        mirrored = torch.rand(len(rows), generator=generator) < (0.5 if options.random_flip else 0.0)
        timesteps = torch.randint(self.timesteps, (len(rows),), generator=generator)
        tokens = [
            [
                self.empty[encoder][0] if silent else words[encoder]
                for (_, words), silent in zip(rows, unsaid, strict=True)
            ]
            for encoder in (0, 1)
        ]
        return self._batch([picture for picture, _ in rows], mirrored.tolist(), tokens, timesteps, shares, generator)

    def validation(self, index: int) -> Batch:
        """One measured picture at evenly spread timesteps, with noise of its own that never changes."""
        picture, words = self.measured.pictures[index], self.measured.words(index)
        count = VALIDATION_TIMESTEPS
        timesteps = ((torch.arange(count) + 0.5) * self.timesteps / count).long()
        tokens = [[words[encoder]] * count for encoder in (0, 1)]
        generator = generator_of(self.options.seed, "validation", picture.sha256)
        return self._batch([picture] * count, [False] * count, tokens, timesteps, [1 / count] * count, generator)

    def rows(self, captioned: _Captioned, number: int, purpose: str) -> list[Row]:
        """Return the pictures of a batch, each with one of its captions as tokens of both text encoders."""
        size, seed = self.options.train_batch_size, seed_of(self.options.seed, purpose)
        if self.options.aspect_buckets:
            chosen = places_in_bucket(number, size, captioned.buckets, seed)
        else:
            chosen = pictures_at(number * size, size, len(captioned.shown), seed)
        lots = torch.rand(len(chosen), generator=generator_of(seed, "caption", number)).tolist()
        indices = [captioned.shown[place] for place in chosen]
        return [
            (captioned.pictures[index], captioned.words(index, lot)) for index, lot in zip(indices, lots, strict=True)
        ]

    def _batch(
        self,
        pictures: Sequence[TrainingPicture],
        mirrored: Sequence[bool],
        tokens: Sequence[Sequence[Tensor]],
        timesteps: Tensor,
        shares: Sequence[float],
        generator: torch.Generator,
    ) -> Batch:
        width, height = self.store.size_of(pictures[0])
        latents, noises = [], []
        for picture, flip in zip(pictures, mirrored, strict=True):
            sampling, noise = torch.randn(2, 4, height // GRAIN, width // GRAIN, generator=generator)
            latents.append(self.store.sample(picture, sampling, mirrored=flip))
            offset = torch.randn(4, 1, 1, generator=generator)
            noises.append(noise + self.options.noise_offset * offset)
        time_ids = torch.tensor([self.store.time_ids(picture) for picture in pictures], dtype=torch.float32)
        return Batch(
            latents=self._sent(torch.stack(latents)),
            noise=self._sent(torch.stack(noises)),
            timesteps=self._sent(timesteps),
            tokens=(self._sent(torch.stack(list(tokens[0]))), self._sent(torch.stack(list(tokens[1])))),
            time_ids=self._sent(time_ids),
            shares=self._sent(torch.tensor(shares)),
        )

    def _sent(self, tensor: Tensor) -> Tensor:
        """The tensor on the device. The copy to a GPU does not wait until the GPU has done the batch before."""
        if not self.device.startswith("cuda"):
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)


class _Captioned:
    """Pictures and their captions as tokens of both tokenizers."""

    def __init__(self, pictures: Sequence[TrainingPicture], lora_model: LoraModel) -> None:
        self.pictures = tuple(pictures)
        self.shown = [index for index, picture in enumerate(pictures) for _ in range(picture.repeats)]
        """Numbers of the pictures that a pass shows."""
        sizes = [pictures[index].bucket or (0, 0) for index in self.shown]
        self.buckets = [[place for place, own in enumerate(sizes) if own == size] for size in sorted(set(sizes))]
        """Of each aspect bucket, the places in `shown` of its pictures; without buckets, all in one."""
        self._first = list(accumulate((len(picture.captions) for picture in pictures), initial=0))
        captions = [caption for picture in pictures for caption in picture.captions]
        self._tokens = _tokens(lora_model, captions) if captions else None

    def words(self, index: int, lot: float = 0.0) -> tuple[Tensor, Tensor]:
        """Tokens of one caption of a picture, int64 [77] of either tokenizer.

        Args:
            index: number of the picture.
            lot: in [0, 1), chooses among its captions; 0 is the first.
        """
        assert self._tokens is not None
        row = self._first[index] + int(lot * len(self.pictures[index].captions))
        return self._tokens[0][row], self._tokens[1][row]


def _tokens(lora_model: LoraModel, captions: list[str]) -> tuple[Tensor, Tensor]:
    """int64 [captions, 77] of either tokenizer."""
    first, second = (
        tokenizer(
            captions,
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        for tokenizer in lora_model.tokenizers
    )
    return first, second
