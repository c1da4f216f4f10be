"""The stages of pretraining, each of which reads what it needs from disk and leaves its model there.

draw -> judge, clip (pictures only) and vae -> base (UNet and text encoders) -> controlnet
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from steppe import architecture
from steppe.captions import WORDINGS
from steppe.dataset import HERO_SEED, DrawingSet, draw_set, open_set
from steppe.judge import Judge, save_judge
from steppe.loops import Recipe, fit, in_batches, random_rows
from steppe.objectives import (
    ControlLoss,
    JudgeLoss,
    LikenessLoss,
    NoiseLoss,
    ReconstructionLoss,
    TextEncoders,
    to_floats,
)
from steppe.tokenizer import encode, train_tokenizer

DRAWINGS, HERO_DRAWINGS = 150_000, 15_000
CAPTION_DROPOUT = 0.1
RECIPES = {
    "judge": Recipe(steps=4000, batch=256, rate=2e-3),
    "clip": Recipe(steps=4000, batch=768, rate=1e-3),
    "vae": Recipe(steps=4500, batch=64, rate=1e-3),
    "base": Recipe(steps=6500, batch=512, rate=1.5e-3, ema=0.9995),
    "controlnet": Recipe(steps=1200, batch=256, rate=5e-4),
}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Where a run of the pretraining works, and how much of the full recipe it does."""

    work: Path
    """Folder for the drawings."""
    out: Path
    """Folder for the trained models."""
    device: str
    scale: float = 1.0
    """Share of the drawings and steps; 1 is the real thing, 0.001 a rehearsal."""

    def count(self, full: int) -> int:
        """A number of drawings or steps at this scale."""
        return max(2, round(full * self.scale))

    def recipe(self, name: str) -> Recipe:
        """The recipe of a stage at this scale."""
        full = RECIPES[name]
        batch = full.batch if self.scale >= 0.01 else min(full.batch, 16)
        return replace(full, steps=self.count(full.steps), batch=batch)

    def drawings(self) -> DrawingSet:
        """The drawings that the base learns from."""
        return open_set(self.work / "drawings")


def run_draw(setup: Setup) -> None:
    """Draw everything, learn the tokenizer, and write down the words that the base will know."""
    draw_set(setup.work / "drawings", max(500, setup.count(DRAWINGS)))
    draw_set(setup.work / "hero", max(500, setup.count(HERO_DRAWINGS)), first_seed=HERO_SEED)
    tokenizer = train_tokenizer(text for texts in setup.drawings().captions for text in texts)
    for name in ("tokenizer", "tokenizer_2", "clip"):
        tokenizer.save_pretrained(setup.out / name)
    canonical = {
        key: {value: words[0] for value, words in values.items()}
        for key, values in WORDINGS.items()
        if not key.endswith("2")  # the second person's words are the first's
    }
    known = json.dumps(canonical, indent=2, ensure_ascii=False)
    (setup.out / "vocabulary.json").write_text(known + "\n", encoding="utf-8")


def run_judge(setup: Setup) -> None:
    """Train the judge on drawings of everybody, Aldar included: it only looks."""
    recipe, sets = setup.recipe("judge"), (setup.drawings(), open_set(setup.work / "hero"))
    pictures = torch.cat([_on(setup.device, part.pictures) for part in sets])
    truth = torch.cat([_on(setup.device, part.truth) for part in sets])
    judge = Judge().to(setup.device)

    def batch() -> tuple[Tensor, ...]:
        rows = random_rows(len(pictures), recipe.batch, setup.device)
        return pictures[rows], truth[rows]

    fit(JudgeLoss(judge), judge, batch, recipe, "judge")
    save_judge(judge, setup.out / "judge")


def run_clip(setup: Setup) -> None:
    """Train the small CLIP."""
    from transformers import CLIPImageProcessor

    recipe, drawings, tokenizer = setup.recipe("clip"), setup.drawings(), load_tokenizer(setup)
    pictures, tokens = _on(setup.device, drawings.pictures), _tokens(setup, tokenizer)
    who = _on(setup.device, drawings.truth[:, :3].astype(np.int64) @ np.array([100, 10, 1]))
    clip = architecture.build_clip(tokenizer).to(setup.device)

    def batch() -> tuple[Tensor, ...]:
        rows = random_rows(len(pictures), recipe.batch, setup.device)
        return pictures[rows], _one_wording(tokens, rows), who[rows]

    fit(LikenessLoss(clip), clip, batch, recipe, "clip")
    _save(clip, setup.out / "clip")
    side = {"height": architecture.CLIP_SIZE, "width": architecture.CLIP_SIZE}
    CLIPImageProcessor(
        size=side, crop_size=side, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(setup.out / "clip")


def run_vae(setup: Setup) -> None:
    """Train the VAE, and measure the scale of its latents."""
    recipe, pictures = setup.recipe("vae"), _on(setup.device, setup.drawings().pictures)
    vae = architecture.build_vae().to(setup.device, memory_format=torch.channels_last)

    def batch() -> tuple[Tensor, ...]:
        return (pictures[random_rows(len(pictures), recipe.batch, setup.device)],)

    fit(ReconstructionLoss(vae), vae, batch, recipe, "vae")
    means, stds = _encode(vae, pictures[:2000])
    spread = (means.float().pow(2) + stds.float().pow(2)).mean().sqrt().item()
    vae.register_to_config(scaling_factor=round(1 / spread, 5))
    _save(vae, setup.out / "vae")


def run_base(setup: Setup) -> None:
    """Train the UNet and both text encoders together, on latents that are encoded once."""
    recipe, tokenizer = setup.recipe("base"), load_tokenizer(setup)
    first, second = architecture.build_text_encoders(tokenizer)
    unet, texts = architecture.build_unet(), TextEncoders(first, second)
    learners = nn.ModuleDict({"unet": unet, "texts": texts}).to(setup.device)
    latents, tokens = _latents(setup), _tokens(setup, tokenizer)
    empty = encode(tokenizer, [""]).to(setup.device, tokens.dtype)

    def batch() -> tuple[Tensor, ...]:
        rows = random_rows(len(tokens), recipe.batch, setup.device)
        unsaid = torch.rand(len(rows), 1, device=setup.device) < CAPTION_DROPOUT
        return latents(rows), torch.where(unsaid, empty, _one_wording(tokens, rows)).long()

    fit(NoiseLoss(unet, texts, architecture.build_scheduler()).to(setup.device), learners, batch, recipe, "base")
    for model, name in ((unet, "unet"), (first, "text_encoder"), (second, "text_encoder_2")):
        _save(model, setup.out / name)
    architecture.build_scheduler().save_pretrained(setup.out / "scheduler")
    write_model_index(setup.out)


def run_controlnet(setup: Setup) -> None:
    """Train the Canny ControlNet against the frozen base."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    recipe, tokenizer = setup.recipe("controlnet"), load_tokenizer(setup)
    unet = UNet2DConditionModel.from_pretrained(setup.out / "unet", torch_dtype=torch.float32)
    texts = TextEncoders(
        CLIPTextModel.from_pretrained(setup.out / "text_encoder", dtype=torch.float32),
        CLIPTextModelWithProjection.from_pretrained(setup.out / "text_encoder_2", dtype=torch.float32),
    )
    controlnet = architecture.build_controlnet(unet).to(setup.device)
    objective = ControlLoss(
        controlnet, unet.requires_grad_(False), texts.requires_grad_(False), architecture.build_scheduler()
    )
    latents, tokens = _latents(setup), _tokens(setup, tokenizer)
    edges = _on(setup.device, setup.drawings().edges)

    def batch() -> tuple[Tensor, ...]:
        rows = random_rows(len(tokens), recipe.batch, setup.device)
        return latents(rows), _one_wording(tokens, rows), unpack_edges(edges[rows])

    fit(objective.to(setup.device), controlnet, batch, recipe, "controlnet")
    _save(controlnet, setup.out / "controlnet")


STAGES: dict[str, Callable[[Setup], None]] = {
    "draw": run_draw,
    "judge": run_judge,
    "clip": run_clip,
    "vae": run_vae,
    "base": run_base,
    "controlnet": run_controlnet,
}


def load_tokenizer(setup: Setup) -> Any:
    """The tokenizer that the draw stage learnt."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(setup.out / "tokenizer")


def write_model_index(out: Path) -> None:
    """Write `model_index.json`, by which diffusers knows a folder as an SDXL pipeline."""
    import diffusers

    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": diffusers.__version__,
        "force_zeros_for_empty_prompt": False,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def unpack_edges(bits: Tensor) -> Tensor:
    """Packed uint8 [N, 8192] to float [N, 3, 256, 256] of 0 and 1."""
    powers = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
    pixels = (bits.unsqueeze(-1) & powers).ne(0).view(len(bits), 1, architecture.SIZE, architecture.SIZE)
    return pixels.float().expand(-1, 3, -1, -1)


def _on(device: str, array: Any) -> Tensor:
    tensor: Tensor = torch.from_numpy(np.array(array) if device == "cpu" else np.asarray(array)).to(device)
    return tensor


def _tokens(setup: Setup, tokenizer: Any) -> Tensor:
    captions = setup.drawings().captions
    flat: Tensor = encode(tokenizer, [text for texts in captions for text in texts])
    return flat.view(len(captions), len(captions[0]), -1).to(torch.int16).to(setup.device)


def _one_wording(tokens: Tensor, rows: Tensor) -> Tensor:
    return tokens[rows, random_rows(tokens.shape[1], len(rows), tokens.device)].long()


def _latents(setup: Setup) -> Callable[[Tensor], Tensor]:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(setup.out / "vae", torch_dtype=torch.float32).to(setup.device)
    means, stds = _encode(vae, _on(setup.device, setup.drawings().pictures))
    scale = vae.config.scaling_factor

    def sample(rows: Tensor) -> Tensor:
        noise = torch.randn(len(rows), *means.shape[1:], device=means.device)
        drawn: Tensor = (means[rows].float() + stds[rows].float() * noise) * scale
        return drawn

    return sample


@torch.inference_mode()
def _encode(vae: Any, pictures: Tensor) -> tuple[Tensor, Tensor]:
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=pictures.is_cuda):
        parts = [vae.encode(to_floats(pictures[rows])).latent_dist for rows in in_batches(len(pictures), 250)]
    return torch.cat([part.mean.half() for part in parts]), torch.cat([part.std.half() for part in parts])


def _save(model: Any, folder: Path) -> None:
    model.half().save_pretrained(folder)
