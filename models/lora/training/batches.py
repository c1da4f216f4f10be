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
        self.ready: tuple[Place, Batch] | None = None
        self.timesteps: int = lora_model.scheduler.config.num_train_timesteps
        self.empty = _tokens(lora_model, [""])
        self.train = _Captioned(training_set.train, lora_model)
        self.prior = _Captioned(training_set.prior, lora_model)
        self.measured = _Captioned(training_set.validation or training_set.train[:MEASURED], lora_model)

    def prepare(self, place: Place) -> None:
        """Draw the batch of this place now, for the `take` that will ask for it."""
        self.ready = (place, self.draw(place))

    def take(self, place: Place) -> Batch:
        """The batch of this place: the prepared one, or drawn now."""
        ready, self.ready = self.ready, None
        return ready[1] if ready is not None and ready[0] == place else self.draw(place)

    def draw(self, place: Place) -> Batch:
        """The batch of this place; the same for the same place."""
        options, number = self.options, place.batch_number(self.options)
        size = options.train_batch_size
        generator = generator_of(options.seed, "batch", number)
        rows = self.rows(self.train, number, "order")
        shares = [1 / size] * size
        if self.prior.pictures:
            rows += self.rows(self.prior, number, "prior")
            shares += [options.prior_loss_weight / size] * size
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

    def rows(
        self, captioned: _Captioned, number: int, purpose: str
    ) -> list[tuple[TrainingPicture, tuple[Tensor, Tensor]]]:
        """Return the pictures of a batch, each with one of its captions as tokens of both text encoders."""
        size, total = self.options.train_batch_size, len(captioned.shown)
        seed = seed_of(self.options.seed, purpose)
        chosen = [captioned.shown[place] for place in pictures_at(number * size, size, total, seed)]
        lots = torch.rand(size, generator=generator_of(seed, "caption", number)).tolist()
        return [
            (captioned.pictures[index], captioned.words(index, lot)) for index, lot in zip(chosen, lots, strict=True)
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
        side = self.store.side // 8
        latents, noises = [], []
        for picture, flip in zip(pictures, mirrored, strict=True):
            sampling, noise = torch.randn(2, 4, side, side, generator=generator)
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
