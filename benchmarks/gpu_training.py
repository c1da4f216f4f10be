"""Training with the document's settings at full size on one GPU, by this project and by diffusers' stock step.

    python -m benchmarks.full_size /tmp/full-size
    python -m benchmarks.gpu_training --models /tmp/full-size --out figures.jsonl --profile kernels.txt

Rank 64, batch 4, 1024 pixels, UNet and both text encoders. Ours is the project's whole loop: stored latents, validation
loss and a checkpoint at the end. Seconds are from one update to the next; the median omits the first few. Cards of 24
and 16 GB are simulated by limiting torch's memory.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import work
from benchmarks.architectures import PROFILES_FILE
from benchmarks.figures import Figures, Kernels, card_of, ceiling, choose, parser_for, peak, seconds_of, start_of_peak
from benchmarks.full_size import known
from benchmarks.stock_training import Sample, StockTraining
from benchmarks.training_settings import Setting, settings_for
from models.lora.configuration.accelerate_settings import AccelerateSettings
from models.lora.configuration.config_files import read_training_config
from models.lora.data.latents import encode_set
from models.lora.options import MixedPrecision, TrainingOptions
from models.lora.records import TrainingPicture, TrainingSet
from models.lora.training.job import Job, Tick
from models.lora.training.launcher import run
from models.profiles import ROOT, Profile
from models.sources import OWN_PROFILES
from models.storage.files import sha256_of

CONFIG = ROOT / "configs" / "training_config.yaml"
OF_OTHER_PLACES = ("base_model_name_or_path", "pretrained_model_name_or_path", "accelerate_config", "warmup_steps")
"""Options of the document's configuration that the benchmark replaces."""
TRAINED, VALIDATED = 8, 1
DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
NAMES = ("document, fp16", "plain, fp16")
"""Settings whose losses are compared."""
PROFILED = 3
"""Updates."""


@dataclass
class Pace:
    """Notes the end of each update, and profiles some of them."""

    figures: Figures
    kernels: Kernels | None = None
    first: int = 0
    """Update after which the profile begins."""
    ends: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    before_checkpoint: dict[str, float] = field(default_factory=dict)
    profiled: dict[str, Any] = field(default_factory=dict)

    def __call__(self, tick: Tick) -> None:
        """Note an update. The loop has read its loss, so the device has finished it."""
        if tick.loss is None:
            return
        self.ends.append(time.perf_counter())
        self.losses.append(tick.loss)
        self.before_checkpoint = peak(self.figures.device)
        if self.kernels is not None and tick.step == self.first:
            self.kernels.start()
        if self.kernels is not None and tick.step == self.first + PROFILED:
            self.profiled = self.kernels.stop()

    def seconds(self, leave_out: int) -> float:
        """Return the median of the updates after the first `leave_out`."""
        return median_between(self.ends[leave_out:])


def median_between(ends: list[float]) -> float:
    """Return the median seconds from one to the next, of at least two."""
    return statistics.median(after - before for before, after in pairwise(ends))


class Pictures:
    """Random pictures of the profile's size, with captions."""

    def __init__(self, folder: Path, profile: Profile) -> None:
        folder.mkdir(parents=True)
        self.side, self.trigger = profile.native_size, profile.trigger
        drawn = tuple(self._draw(folder / f"{number:03}.png", number) for number in range(TRAINED + VALIDATED))
        self.set = TrainingSet(folder=str(folder), train=drawn[:TRAINED], validation=drawn[TRAINED:])

    def _draw(self, file: Path, number: int) -> TrainingPicture:
        colours = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        size = (self.side, self.side)
        Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).save(file)
        caption = f"{self.trigger} rides on a horse, in the steppe, on a sunny day"
        return TrainingPicture(
            file=str(file), sha256=sha256_of(file), caption=caption, width=self.side, height=self.side
        )

    def samples(self, size: int) -> Iterator[Sample]:
        """Yield batches for the stock training, endlessly. Pictures are read once: no data loader would be faster."""
        arrays = [np.asarray(Image.open(picture.file), dtype=np.float32) for picture in self.set.train]
        pixels = [torch.from_numpy(array / 127.5 - 1).permute(2, 0, 1) for array in arrays]
        place = 0
        while True:
            chosen = [(place + index) % len(pixels) for index in range(size)]
            place += size
            yield Sample(
                torch.stack([pixels[index] for index in chosen]), [self.set.train[index].caption for index in chosen]
            )


class Bench:
    """Trainings of one base on one device, one after another."""

    def __init__(self, profile: Profile, figures: Figures, folder: Path, given: argparse.Namespace) -> None:
        self.profile, self.figures, self.folder, self.given = profile, figures, folder, given
        self.device = figures.device
        self.pictures = Pictures(folder / "pictures", profile)
        self.medians: dict[str, float] = {}
        self.losses: dict[str, list[float]] = {}
        os.environ[OWN_PROFILES] = str(Path(profile.base.source).parent / PROFILES_FILE)  # for child processes

    def options(self, **changes: Any) -> TrainingOptions:
        """Return the document's configuration with the benchmark's base and length."""
        document = read_training_config(CONFIG)
        kept = {name: value for name, value in document.items() if name not in OF_OTHER_PLACES}
        own = {"profile": self.profile.name, "resolution": self.profile.native_size, "device": self.device}
        length = {"max_train_steps": self.given.steps, "checkpointing_steps": self.given.steps}
        places = {"train_data_dir": str(self.folder / "pictures"), "output_dir": str(self.folder / "output")}
        return TrainingOptions.model_validate({**kept, **own, **length, **places, **changes})

    def encode(self) -> None:
        """Encode the latents within 16 GB, so that every card in the benchmark can do it."""
        start_of_peak(self.device)
        with card_of(self.device, 16):
            seconds = seconds_of(self.device, lambda: encode_set(self.options(), self.pictures.set, self.device))
        count = TRAINED + VALIDATED
        self.figures.note("latents, 16 GB card", pictures=count, seconds_with_loading=seconds, **peak(self.device))

    def ours(self, setting: Setting) -> None:
        """Run one training by the project's loop, with its checkpoint."""
        updates = setting.steps or self.given.steps
        length = {"max_train_steps": updates, "checkpointing_steps": updates}
        options = self.options(**(length | setting.changes))
        job = Job(
            options=options,
            training_set=self.pictures.set,
            base="random",
            updates=updates,
            mixed_precision=setting.precision,
            device=self.device if setting.processes == 1 else "cuda",
            processes=setting.processes,
            run=setting.name,
            training=setting.name,
        )
        pace = Pace(self.figures, self._kernels(setting), updates - PROFILED - 1)
        start_of_peak(self.device)
        began = time.perf_counter()
        try:
            with card_of(self.device, setting.card_gib):
                run(job, pace, AccelerateSettings(mixed_precision=setting.precision, num_processes=setting.processes))
            ended = time.perf_counter()
        finally:
            for checkpoint in (self.folder / "output").glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
        times = {"start_s": pace.ends[0] - began, "checkpoint_s": ended - pace.ends[-1], "all_s": ended - began}
        self._tell(setting, pace, times)

    def _tell(self, setting: Setting, pace: Pace, times: dict[str, float]) -> None:
        self.losses[setting.name] = pace.losses
        # Profiled updates are slower.
        leave_out, watched = self.given.warm_up, PROFILED + 1 if pace.kernels is not None else 0
        # The memory of child processes can't be measured here.
        held = {} if setting.processes > 1 else pace.before_checkpoint
        most = {} if setting.processes > 1 else peak(self.device)
        seconds = median_between(pace.ends[leave_out : len(pace.ends) - watched])
        self.medians[setting.name] = seconds
        self.figures.note(
            f"ours: {setting.name}",
            seconds_a_step=seconds,
            steps_a_second=1 / seconds,
            **held,
            **{f"{name}_with_checkpoint": value for name, value in most.items()},
            **times,
            first_loss=pace.losses[0],
            last_loss=pace.losses[-1],
        )
        if pace.profiled:
            self.figures.note(f"profile of {setting.name}", steps=PROFILED, **pace.profiled)

    def _kernels(self, setting: Setting) -> Kernels | None:
        """Return a profiler for the first setting only."""
        if self.given.profile is None or setting.changes or self.medians:
            return None
        return Kernels(self.given.profile, self.device)

    def stock(self, precision: MixedPrecision) -> None:
        """Run the stock training's steps."""
        options = self.options()
        start_of_peak(self.device)
        stock = StockTraining(options, self.device, DTYPES[precision])
        ends, losses = [], []
        for _, sample in zip(range(self.given.steps), self.pictures.samples(options.train_batch_size), strict=False):
            losses.append(stock.step(sample))
            ends.append(time.perf_counter())
        seconds = median_between(ends[self.given.warm_up :])
        self.medians["stock"] = seconds
        self.figures.note(
            f"stock: {precision}",
            seconds_a_step=seconds,
            steps_a_second=1 / seconds,
            **peak(self.device),
            first_loss=losses[0],
            last_loss=losses[-1],
        )

    def compare_losses(self) -> None:
        """Note the largest relative difference between the losses of the fast and the plain training."""
        fast, plain = (self.losses.get(name) for name in NAMES)
        if fast is not None and plain is not None:
            apart = max(abs(one - other) / other for one, other in zip(fast, plain, strict=True))
            self.figures.note("losses, fast and plain", updates=len(fast), largest_relative_difference=apart)

    def conclude(self) -> None:
        """Note the ratios to the stock training, and the shares of the device's maximum."""
        self.compare_losses()
        rate = ceiling(self.device)
        batch = self.options().train_batch_size
        needed = batch * work.count(self.profile).training_sample()
        self.figures.note("ceiling", bf16_tflops=rate, tflop_a_step=needed, least_s_a_step=needed / rate)
        for name, seconds in self.medians.items():
            ratio = {"times_stock": self.medians["stock"] / seconds} if "stock" in self.medians else {}
            share = needed / rate / seconds
            self.figures.note(f"training step: {name}", seconds=seconds, **ratio, share_of_ceiling=share)


def arguments() -> argparse.Namespace:
    """Return the command line's options."""
    parser = parser_for("gpu_training", __doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of benchmarks.full_size")
    parser.add_argument("--steps", type=int, default=16, help="updates of each training (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=4, help="updates left out of medians (default: %(default)s)")
    parser.add_argument("--only", nargs="*", metavar="WORDS", help="only settings whose name has one of these")
    parser.add_argument("--no-stock", action="store_true", help="omit the stock training")
    return parser.parse_args()


def main() -> None:
    """Measure all settings and the stock training, and print the figures. Exit code 1 if a part failed."""
    given = arguments()
    device = choose(given.device)
    figures = Figures(given.out, device)
    figures.header("training on")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(known(given.models), figures, Path(scratch), given)
        with figures.part("latents"):
            bench.encode()
        for setting in settings_for(device, given.only):
            with figures.part(f"ours: {setting.name}"):
                bench.ours(setting)
        if not given.no_stock:
            with figures.part("stock"):
                bench.stock("fp16" if device.startswith("cuda") else "no")
        with figures.part("conclusion"):
            bench.conclude()
    raise SystemExit(1 if figures.failed else 0)


if __name__ == "__main__":
    main()
