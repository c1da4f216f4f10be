"""The model card of the steppe weights, written from their figures, their files and the recipe.

python -m steppe.figures --out outputs/figures.json
python -m steppe.card --figures outputs/figures.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, TypeVar

from models.lora.configuration.config_files import training_options
from models.profiles import ROOT
from models.storage.files import write_atomically
from models.storage.recorded_sums import SUMS
from steppe import architecture
from steppe.aldar import PICTURES
from steppe.captions import TRIGGER
from steppe.dataset import CAPTIONS
from steppe.figures import DEFAULT_WEIGHTS, format_value, goal_of
from steppe.material import AGAIN, NOTES, RECIPES
from steppe.shapes import SHAPES
from steppe.stages import CAPTION_DROPOUT, DRAWINGS, HERO_DRAWINGS
from steppe.sums import write_sums
from steppe.tokenizer import MAX_TOKENS, VOCABULARY_SIZE
from steppe.turbo import N_STEPS, RANK
from steppe.turbo import PRODUCT as TURBO
from steppe.world import KINDS

T = TypeVar("T")

LORA_CONFIG = ROOT / "configs" / "training_steppe.yaml"
PARTS = {
    "vae": "`AutoencoderKL`, factor 8, 4 latent channels",
    "unet": "`UNet2DConditionModel`, widths {unet}, SDXL's conditioning on sizes, crop and pooled text",
    "text_encoder": "`CLIPTextModel`, width {first}",
    "text_encoder_2": "`CLIPTextModelWithProjection`, width {second}",
    "controlnet": "`ControlNetModel` for Canny edges, without attention",
    "clip": "`CLIPModel` over {clip} x {clip} pictures: image similarity, text–image similarity",
    "classifier": "classifier that reads every attribute off a picture; measures, never paints",
    "turbo": "LoRA of speed turbo: {turbo_steps} steps without guidance, rank {turbo_rank}",
    "aldar": "LoRA of Aldar Köse, rank {rank}, alpha {alpha}, in three PEFT folders",
}

ABOUT = """---
license: mit
library_name: diffusers
pipeline_tag: text-to-image
language: en
tags: [stable-diffusion-xl, lora, controlnet, storyboard]
---

# Steppe: a small SDXL that was trained on drawings made by a program

Paints storybook pictures of one small world, {sizes} pixels: who is there ({kinds} kinds of
people, their robes and hats), what they do, where, when and how near. It lies in the layout of a Stable Diffusion XL
pipeline and runs through the same code, so that storyboards, LoRA training and their tests work on a CPU, without a
network.

The LoRA in `aldar` adds Aldar Köse, the trickster of Kazakh tales, by the word `{trigger}`.

## What it is not

It is no general text-to-image model: words outside its captions mean nothing to it, and it has seen no photograph, no
artist's work and no other language. Nor is it a distilled or shrunken SDXL: the classes are SDXL's, every weight was
learnt from scratch. What a picture shows of Kazakh dress and life is a cartoon, not a reference.
"""

LIMITS = """## Intended use

Trying the storyboard flow and the character training before a GPU and SDXL's weights are there; tests; teaching.

## Limits

- Captions are short and English: 8 to 45 words of a small vocabulary (`vocabulary.json` lists what each attribute may
  say). Other letters have tokens, but no meaning.
- At most two people, one animal and one thing in a picture.
- Small faces and hands are coarse: what the VAE loses, the UNet cannot paint (see its figures above).
- CLIP's cosines belong to this CLIP; thresholds found with them say nothing about another one.
- The classifier knows this world's drawings only. Its answers on anything else mean nothing.

## Licence

MIT, the weights and the program that draws their data.
"""


def count_parameters(folder: Path) -> int:
    """Return the number of parameters in the safetensors files below `folder`, read from their headers.

    Raises:
        OSError: a file can't be read.
    """
    total = 0
    for file in sorted(folder.rglob("*.safetensors")):
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        total += sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return total


def parts_table(weights: Path) -> Iterator[str]:
    """Yield the section on the models and their sizes."""
    lora = training_options({}, LORA_CONFIG)
    sizes = {
        "clip": architecture.CLIP_SIZE,
        "unet": ", ".join(map(str, architecture.UNET_CHANNELS)),
        "first": architecture.TEXT_WIDTHS[0],
        "second": architecture.TEXT_WIDTHS[1],
        "rank": lora.rank,
        "alpha": f"{lora.alpha:g}",
        "turbo_steps": N_STEPS,
        "turbo_rank": RANK,
    }
    yield "## Parts\n"
    yield "| folder | what | parameters |\n|---|---|---|"
    for name, what in PARTS.items() if (weights / TURBO).is_file() else _without_turbo(PARTS).items():
        yield f"| `{name}` | {what.format(**sizes)} | {count_parameters(weights / name) / 1e6:.2f} M |"
    yield f"\nAll weights are fp16. The tokenizer is CLIP's own kind with up to {VOCABULARY_SIZE} tokens, learnt from"
    yield f"the captions; a text has {MAX_TOKENS} tokens at most. `{SUMS}` records the"
    yield "sha256 of every file of weights; a run refuses a file that has other bytes.\n"


def _without_turbo(all_of_them: dict[str, T]) -> dict[str, T]:
    """Return the entries of weights whose turbo LoRA is not trained yet."""
    return {name: value for name, value in all_of_them.items() if name != "turbo"}


def recipe_table(weights: Path) -> Iterator[str]:
    """Yield the section on the training of each part, from the stages' notes."""
    yield "## Recipe\n"
    yield "| stage | drawings | steps | batch | peak rate | average of weights |\n|---|---|---|---|---|---|"
    stages = RECIPES if (weights / TURBO).is_file() else _without_turbo(RECIPES)
    notes = {name: json.loads((weights / NOTES / f"{name}.json").read_text(encoding="utf-8")) for name in stages}
    for name, told in notes.items():
        numbers = f"{told['drawings']:,} | {told['steps']:,} | {told['batch']}"
        yield f"| {name} | {numbers} | {told['rate']:g} | {told['ema']:g} |"
    lora = training_options({}, LORA_CONFIG)
    steps = f"{lora.max_train_steps:,} | {lora.train_batch_size}"
    yield f"| character LoRA | {PICTURES} | {steps} | {lora.learning_rate:g} | |"
    yield f"\nAdamW, warm-up and cosine, gradients clipped at 1. The base sees no caption {CAPTION_DROPOUT:.0%} of the"
    yield "time, so that it can be guided. All but the LoRA runs again by `python -m steppe.pretrain`. The LoRA is the"
    yield f"output of this project's training flow, `make train`, with `configs/{LORA_CONFIG.name}`.\n"
    early = [
        f"`{name}` ({told['steps']:,} of {RECIPES[name].steps:,})"
        for name, told in notes.items()
        if told["steps"] < RECIPES[name].steps
    ]
    if early:
        yield f"Stages that ended before their last step, with the average of their weights: {', '.join(early)}.\n"
    further = [f"`{name}` {_further(run)}" for name, told in notes.items() for run in told.get(AGAIN, [])]
    if further:
        yield f"Of these, in runs that went on from earlier weights: {'; '.join(further)}."
        yield "Such a run of `vae_whole` trains the decoder alone.\n"


def _further(run: dict[str, Any]) -> str:
    return f"{run['steps']:,} steps of {run['batch']} at {run['rate']:g}, on {run['drawings']:,} drawings"


def data_section() -> Iterator[str]:
    """Yield the section on the training data."""
    yield "## Data\n"
    yield f"{sum(DRAWINGS.values()):,} random scenes ({_by_shape(DRAWINGS)}), drawn by `steppe/draw.py`, each with"
    yield f"{CAPTIONS} captions by `steppe/captions.py`; nothing else, and nothing by other people. Some are parts of"
    yield "larger ones, or were small (`steppe/views.py`), as the base is told. In a third of them the leading person"
    yield "wears a robe of any hue with a bold pattern (`steppe/strangers.py`), called by the nearest of some more"
    yield "colours, so that a character of one's own is not bound to the eight robes that the vocabulary names."
    yield f"{sum(HERO_DRAWINGS.values()):,} more with Aldar, whole or with a flawed face, or with others in his robe or"
    yield "hat taught the classifier alone. The base has never seen him, nor his diamonds, his kalpak or his beard: the"
    yield f"LoRA learnt him from the {PICTURES} captioned pictures in `data/images`.\n"


def _by_shape(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {shape}" for shape, count in counts.items())


def figures_table(told: dict[str, Any]) -> Iterator[str]:
    """Yield the section with the figures of `python -m steppe.figures`."""
    yield "## Figures\n"
    yield "On drawings and captions that nothing was trained on, painted with the profile's steps and guidance:\n"
    device = "" if told["device"] == "cpu" else f" --device {told['device']}"
    yield f"    python -m steppe.figures --pictures {told['pictures']} --drawings {told['drawings']}{device}\n"
    yield "| figure | value | goal | | n |\n|---|---|---|---|---|"
    for figure in told["figures"]:
        goal, met = goal_of(figure)
        value = format_value(figure["value"], figure["unit"])
        yield f"| {figure['name']} | {value} | {goal} | {met} | {figure['count']} |"
    yield ""


def write_card(weights: Path, told: dict[str, Any]) -> None:
    """Write `README.md` into the folder of the weights.

    Raises:
        StorageError: it can't be written.
    """
    sizes = ", ".join(f"{width} x {height}" for width, height in SHAPES.values())
    about = ABOUT.format(sizes=sizes, kinds=len(KINDS), trigger=TRIGGER)
    lines = [about, *parts_table(weights), *data_section(), *recipe_table(weights), *figures_table(told), LIMITS]
    write_atomically(weights / "README.md", "\n".join(lines).encode())


def main(arguments: list[str] | None = None) -> None:
    """Write the card."""
    parser = argparse.ArgumentParser(prog="python -m steppe.card", description="Write the steppe weights' model card.")
    parser.add_argument("--figures", type=Path, required=True, metavar="FILE.json", help="of steppe.figures --out")
    parser.add_argument(
        "--weights", type=Path, default=DEFAULT_WEIGHTS, help="folder of the models (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    write_card(given.weights, json.loads(given.figures.read_text(encoding="utf-8")))
    write_sums(given.weights)


if __name__ == "__main__":
    main()
