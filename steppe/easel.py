"""Pictures for the figures: painted by the product's painter, read by the classifier, laid out on sheets."""

from __future__ import annotations

import sys
import textwrap
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from models.diffusion.loading import Models, load
from models.diffusion.painter import paint
from models.diffusion.requests import PainterSetup, PaintRequest, sampling
from models.diffusion.weights import read_model
from models.profiles import PROFILES, STEPPE, Profile, Speed
from models.records import Adapter
from models.s3.adapters import fetch_adapter
from models.secrets.keys import Keys
from models.sizes import Size
from models.turbo import GUIDANCE, Turbo, turbo_in
from steppe.classifier import Classifier, load_classifier, verdicts
from steppe.shapes import SHAPES
from steppe.validation_scenes import Case, aldars, everybody

BATCH = 4
SETS = {
    "plain": "anybody, without the LoRA",
    "aldar": "Aldar, with the LoRA",
    "aldar_bare": "Aldar's prompts, without the LoRA",
    "unrelated": "anybody, with the LoRA",
}
_FIRST_SEED = 42
_COLUMNS, _ROWS, _LINES, _LINE = 6, 5, 6, 13


def tell(text: str) -> None:
    """Print a line of progress to stderr; stdout is for the table."""
    print(text, file=sys.stderr, flush=True)


def use_weights(folder: Path) -> Profile:
    """Return the steppe profile with all its weights in `folder`, and make it this process's steppe profile."""
    folder = folder.resolve()
    here = {"source": str(folder)}
    profile = STEPPE.model_copy(
        update={
            "base": STEPPE.base.model_copy(update=here),
            "controlnet": STEPPE.controlnet.model_copy(update={"source": str(folder / "controlnet")}),
            "clip": STEPPE.clip.model_copy(update={"source": str(folder / "clip")}),
            "adapter": str(folder / "aldar"),
            "turbo": turbo_in(folder),
            "vocabulary": str(folder / "vocabulary.json"),
        }
    )
    PROFILES[profile.name] = profile
    return profile


@dataclass(frozen=True)
class Painted:
    """One painted picture and the classifier's values for it."""

    case: Case
    image: Image.Image
    verdict: dict[str, str]

    def found(self, *only: str) -> dict[str, bool]:
        """Return whether each attribute that the prompt names is in the picture; `only` limits the attributes."""
        named = self.case.named
        return {key: self.verdict[key] == value for key, value in named.items() if not only or key in only}

    @property
    def is_aldar(self) -> bool:
        """Whether the classifier finds both Aldar's robe and his kalpak."""
        return self.verdict["hero_robe"] == self.verdict["hero_hat"] == "yes"

    @property
    def is_whole(self) -> bool:
        """Whether it also finds his face: eyes and beard, and no smear."""
        return self.is_aldar and self.verdict["hero_face"] == "yes"


@dataclass
class Easel:
    """Paints each set of pictures once, with the profile's steps and guidance."""

    weights: Path
    device: str
    pictures: int
    """Pictures of the set `plain`; the other three have half as many."""
    speed: Speed = "exact"
    """turbo paints without guidance, with the turbo LoRA of `weights` beside the character's."""
    shape: str = "square"
    """Of the pictures: a key of SHAPES."""
    profile: Profile = field(init=False)
    _painted: dict[str, list[Painted]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.profile = use_weights(self.weights)

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier that reads the pictures."""
        return load_classifier(self.weights / "classifier")

    @cached_property
    def vae(self) -> Any:
        """The VAE, read as the product reads it, but alone: it can be measured before the base is trained."""
        from diffusers import AutoencoderKL

        return read_model(AutoencoderKL, self.weights / "vae", self.profile.base, torch.float32, self.device)

    def models(self, *, with_lora: bool) -> Models:
        """Return the product's loaded pipelines, with or without Aldar's LoRA."""
        on_gpu = self.device.startswith("cuda")
        adapters = [self._adapter(str(self.profile.adapter))] if with_lora else []
        if self.turbo:
            adapters.append(self._adapter(self.turbo.lora.source).model_copy(update={"role": "turbo"}))
        setup = PainterSetup(
            profile=self.profile,
            adapter=None,
            device=self.device,
            precision=self.profile.precision_on_gpu if on_gpu else "fp32",
            with_controlnet=False,
            batch_size=BATCH,
        )
        return load(setup.with_adapters(adapters))

    @property
    def turbo(self) -> Turbo | None:
        """The distillation LoRA to paint with; None at another speed."""
        return self.profile.turbo if self.speed == "turbo" else None

    def _adapter(self, source: str) -> Adapter:
        return fetch_adapter(source, cache_dir=self.weights, keys=Keys())

    def cases(self, name: str) -> list[Case]:
        """Return the prompts of a set; `unrelated` repeats the first prompts (and the noise) of `plain`."""
        half = max(1, self.pictures // 2)
        if name in ("aldar", "aldar_bare"):
            return aldars(half)
        return everybody(self.pictures if name == "plain" else half)

    def painted(self, name: str) -> list[Painted]:
        """Return the pictures of a set of SETS; the first call paints them."""
        if name not in self._painted:
            self._painted[name] = self._paint(name)
        return self._painted[name]

    def all_painted(self) -> dict[str, list[Painted]]:
        """Return the sets painted so far."""
        return dict(self._painted)

    def _paint(self, name: str) -> list[Painted]:
        models, cases = self.models(with_lora=name in ("aldar", "unrelated")), self.cases(name)
        images: list[Image.Image] = []
        started = time.monotonic()
        for start in range(0, len(cases), BATCH):
            some = cases[start : start + BATCH]
            requests = [self.request(case.text, _FIRST_SEED + start + n) for n, case in enumerate(some)]
            images += [painting.image for painting in paint(models, requests)]
            if len(images) % (5 * BATCH) == 0 or len(images) == len(cases):
                tell(f"  painted {len(images)} of {len(cases)} ({SETS[name]}), {time.monotonic() - started:.0f} s")
        seen = self.read(np.stack([np.asarray(image) for image in images]))
        return [Painted(*row) for row in zip(cases, images, seen, strict=True)]

    def request(self, prompt: str, seed: int) -> PaintRequest:
        """Return the request of a picture, with the profile's settings."""
        profile = self.profile
        return PaintRequest(
            prompt=prompt,
            negative_prompt=profile.negative_prompt,
            seed=seed,
            size=Size(*SHAPES[self.shape]),
            original_scale=profile.original_scale,
            **sampling(self.speed, profile.steps, self.turbo)._asdict(),
            guidance=GUIDANCE if self.turbo else profile.guidance,
            control=None,
        )

    def read(self, pictures: Any) -> list[dict[str, str]]:
        """Return the classifier's values for uint8 pictures [N, H, W, 3]."""
        parts = (torch.from_numpy(pictures[start : start + 50]) for start in range(0, len(pictures), 50))
        return [verdict for part in parts for verdict in verdicts(self.classifier, part)]


def write_sheets(painted: list[Painted], folder: Path, name: str) -> None:
    """Write contact sheets `name`_1.png, …: each picture with its prompt and the attributes not found in it."""
    folder.mkdir(parents=True, exist_ok=True)
    a_page = _COLUMNS * _ROWS
    for page, start in enumerate(range(0, len(painted), a_page), start=1):
        _sheet(painted[start : start + a_page]).save(folder / f"{name}_{page}.png")


def _sheet(painted: list[Painted]) -> Image.Image:
    side, high = painted[0].image.size
    tall = high + (_LINES + 1) * _LINE + 6
    sheet = Image.new("RGB", (_COLUMNS * side, -(-len(painted) // _COLUMNS) * tall), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for n, picture in enumerate(painted):
        x, y = n % _COLUMNS * side, n // _COLUMNS * tall
        sheet.paste(picture.image, (x, y))
        lines = textwrap.wrap(picture.case.text, side // 6)[:_LINES]
        pen.multiline_text((x + 3, y + high + 2), "\n".join(lines), "black", font, spacing=2)
        missed = ", ".join(f"{key}: {picture.verdict[key]}" for key, right in picture.found().items() if not right)
        aldar = ["Aldar"] if picture.is_whole else ["Aldar, no face"] if picture.is_aldar else []
        pen.text((x + 3, y + tall - _LINE - 3), "; ".join([*aldar, missed])[: side // 6], "firebrick", font)
    return sheet
