"""Checks that need a GPU, with the offline profile's weights: fused kernels, CUDA graphs, samplers, training.

    python -m benchmarks.gpu_checks

Exit code 1 if a check fails.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.figures import Figures, choose, parser_for
from models.diffusion import differentiable
from models.diffusion.loading import Models, load, unload
from models.diffusion.painter import paint
from models.diffusion.requests import ControlPicture, PainterSetup, PaintRequest, sampling
from models.lora.configuration.config_files import training_options
from models.lora.data.dataset import read_set
from models.lora.data.latents import encode_set
from models.lora.training.job import Job
from models.lora.training.loop import train
from models.profiles import ROOT, STEPPE, Speed

FRAMES, UPDATES = 4, 12
ROUNDING = 1e-3
"""Allowed relative difference of losses in fp16: a GPU sums attention's gradients in no fixed order."""
BUCKETS_ROUNDING = 1e-2
"""The same for other kernels, in updates that follow from each other."""
Pixels = NDArray[np.float64]
WIDE = STEPPE.size_of("16:9")
"""Its latents are halved to odd sides."""
SPEEDS: tuple[Speed, Speed] = ("exact", "plain")


def requests(guide: str | None, **changes: Any) -> list[PaintRequest]:
    """Return requests of one batch, with or without the edges of a picture."""
    control = None if guide is None else ControlPicture(file=guide, scale=0.5, end=0.4, kind="reference")
    told = {"negative_prompt": STEPPE.negative_prompt, "size": STEPPE.native_size, "steps": STEPPE.steps}
    prompt = f"{STEPPE.trigger} is riding on a horse, in the steppe, on a sunny day"
    return [
        PaintRequest.model_validate(
            {"prompt": prompt, "guidance": STEPPE.guidance, "control": control, "seed": seed, **told, **changes}
        )
        for seed in range(FRAMES)
    ]


def models_of(device: str, speed: Speed, **changes: Any) -> Models:
    """Return the offline profile's models, in half precision."""
    setup = PainterSetup(
        profile=STEPPE,
        adapter=None,
        device=device,
        precision="fp16",
        with_controlnet=True,
        batch_size=FRAMES,
        speed=speed,
        **changes,
    )
    return load(setup)


def pixels(models: Models, wanted: list[PaintRequest]) -> list[Pixels]:
    """Return painted pictures as arrays, 0..255."""
    return [np.asarray(one.image, dtype=np.float64) for one in paint(models, wanted)]


def apart(ours: list[Pixels], theirs: list[Pixels]) -> dict[str, Any]:
    """Return the largest difference (of 255), and each picture's PSNR in dB, None for equal pictures."""
    errors = [float(((a - b) ** 2).mean()) for a, b in zip(ours, theirs, strict=True)]
    return {
        "largest": max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)),
        "psnr_db": [round(float(10 * np.log10(255**2 / error)), 1) if error else None for error in errors],
    }


def check_painting(figures: Figures, folder: Path) -> None:
    """Compare speeds: exact equals plain up to rounding and repeats exactly; fast paints similar pictures."""
    device, guide = figures.device, folder / "guide.png"
    plain = pixels(models_of(device, "plain"), requests(None))
    Image.fromarray(plain[0].astype(np.uint8)).save(guide)
    guided = pixels(models_of(device, "plain"), requests(str(guide)))
    exact, exact_guided = (pixels(models_of(device, "exact"), requests(lines)) for lines in (None, str(guide)))
    figures.note("exact, beside plain", **apart(exact, plain))
    figures.note("exact with a ControlNet, beside plain", **apart(exact_guided, guided))
    wide = [pixels(models_of(device, speed), requests(str(guide), size=WIDE)) for speed in SPEEDS]
    figures.note(f"exact with a ControlNet at {WIDE}, beside plain", **apart(*wide))
    again = pixels(models_of(device, "exact"), requests(None))
    assert apart(again, exact)["largest"] == 0, "the same request gave another picture"
    sparing = pixels(models_of(device, "exact", low_memory=True), requests(None))
    figures.note("exact with low memory, beside exact", **apart(sparing, exact))
    fast = pixels(models_of(device, "fast"), requests(None, **sampling("fast", STEPPE.steps)._asdict()))
    figures.note("fast, beside exact", **apart(fast, exact))


@contextmanager
def asking_python(model: Any) -> Iterator[None]:
    """Inside, a model reads a number back from the GPU, which a graph cannot record."""
    forward = model.forward

    def asking(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        assert output[0].sum().item() is not None
        return output

    model.forward = asking
    try:
        yield
    finally:
        model.forward = forward


def check_recording(figures: Figures) -> None:
    """Check that a model which can't be recorded still paints."""
    models = models_of(figures.device, "exact")
    exact = pixels(models, requests(None))
    with asking_python(models.plain.unet):
        figures.note("unrecorded, beside recorded", **apart(pixels(models, requests(None)), exact))
    figures.note("recorded again", **apart(pixels(models, requests(None)), exact))


def check_giving_way(figures: Figures) -> None:
    """Check that painting goes on after a kernel fails in it, also while a graph is recorded."""
    if not figures.device.startswith("cuda"):  # only a GPU uses the kernels
        return
    plain = pixels(models_of(figures.device, "plain"), requests(None))
    models = models_of(figures.device, "exact")
    pixels(models, requests(None))

    def fail(*_: Any, **__: Any) -> Any:
        raise LookupError("no such kernel")

    working, differentiable.geglu = differentiable.geglu, fail
    try:
        figures.note("after a kernel failed, beside plain", **apart(pixels(models, requests(None)), plain))
        pixels(models, requests(None))
    finally:
        differentiable.geglu = working
        unload()
    assert len(models.failures) == 1, f"the kernel's failure was handled {len(models.failures)} times"


def check_training(figures: Figures, folder: Path) -> None:
    """Check that a resumed training has the losses of an uninterrupted one, up to the GPU's rounding."""
    losses = {name: learn(figures, folder / name, half=half) for name, half in (("whole", False), ("resumed", True))}
    figures.note("training", **losses)
    whole = losses["whole"][-len(losses["resumed"]) :]
    difference = max(abs(one - other) / one for one, other in zip(whole, losses["resumed"], strict=True))
    figures.note("training, resumed", largest_relative_difference=difference)
    assert difference < ROUNDING, "the losses of the resumed training differ"


def check_buckets(figures: Figures, folder: Path) -> None:
    """Check that a training in aspect buckets, with a graph for each size and number of pictures, learns as plain."""
    pictures: dict[str, Any] = {
        "train_data_dir": str(draw_shapes(folder / "shapes")),
        "aspect_buckets": True,
        "dropout": 0.0,
    }
    pictures["max_train_steps"] = 4 * 6  # passes of six kinds of batches: run without a graph, recorded, replayed twice
    fast = learn(figures, folder / "graphs", half=False, **pictures)
    plain = learn(figures, folder / "plain", half=False, **pictures, speed="plain")
    difference = max(abs(one - other) / one for one, other in zip(plain, fast, strict=True))
    figures.note("training in aspect buckets", losses=fast, largest_relative_difference_from_plain=difference)
    assert difference < BUCKETS_ROUNDING, "the losses in aspect buckets differ"


def draw_shapes(folder: Path) -> Path:
    """Return a folder of 18 training pictures: 6 square, 6 wide and 6 tall ones, in batches of 4 and 2."""
    folder.mkdir()
    for number, file in enumerate(sorted((ROOT / "data" / "images").glob("*.png"))[:18]):
        with Image.open(file) as picture:
            picture.resize(((256, 256), (384, 256), (256, 384))[number % 3]).save(folder / file.name)
        shutil.copy(file.with_suffix(".txt"), folder)
    return folder


def learn(figures: Figures, folder: Path, *, half: bool, **changes: Any) -> list[float]:
    """Return the losses of a short training or, with `half`, of its second half when resumed from a checkpoint."""
    given = {"output_dir": str(folder), "train_data_dir": str(ROOT / "data" / "images"), "device": figures.device}
    length = {"max_train_steps": UPDATES, "checkpointing_steps": UPDATES // 2, "warmup_steps": 2}
    options = training_options({**given, **length, **changes}, ROOT / "configs" / "training_steppe.yaml")
    training_set = read_set(options, lambda text: len(text.split()))
    encode_set(options, training_set, figures.device)
    job = Job(
        options=options,
        training_set=training_set,
        base="steppe",
        updates=options.max_train_steps or UPDATES,
        mixed_precision="fp16",
        device=figures.device,
        run="check",
        training="check",
    )
    losses: list[float] = []
    train(job, lambda tick: losses.append(tick.loss) if tick.loss is not None else None)
    if half:
        losses.clear()
        shutil.rmtree(folder / f"checkpoint-{UPDATES}")
        begun = str(folder / f"checkpoint-{UPDATES // 2}")
        again = job.model_copy(update={"start": begun})
        train(again, lambda tick: losses.append(tick.loss) if tick.loss is not None else None)
    return losses


def main() -> None:
    """Run all checks. Exit code 1 if one fails."""
    given = parser_for("gpu_checks", __doc__).parse_args()
    figures = Figures(given.out, choose(given.device))
    figures.header("checks on")
    assert torch.cuda.is_available() or given.device == "cpu", "no GPU was found"
    with tempfile.TemporaryDirectory() as scratch:
        with figures.part("painting"):
            check_painting(figures, Path(scratch))
        with figures.part("recording"):
            check_recording(figures)
        with figures.part("giving way"):
            check_giving_way(figures)
        with figures.part("training"):
            check_training(figures, Path(scratch))
        with figures.part("training in aspect buckets"):
            check_buckets(figures, Path(scratch))
    raise SystemExit(1 if figures.failed else 0)


if __name__ == "__main__":
    main()
