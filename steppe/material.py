"""Inputs of the stages: a run's folders, the recipes, and drawings, tokens and latents on the device."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steppe.classifier import to_pixels
from steppe.dataset import DrawingSet, open_set
from steppe.loops import Recipe, in_batches, random_rows
from steppe.saved import load_vae
from steppe.shapes import SHAPES, SHARES

TOKENS, LATENTS = "tokens.npy", "latents.pt"  # in each drawing set's folder
MOST_RECONSTRUCTED = 20_000
"""Drawings of each shape that the VAE is trained on: enough, and they leave room on the GPU for other stages."""
RECOLOURED = 0.25
"""Share of the VAE's pictures in other colours."""
Batches = Callable[[], tuple[Tensor, ...]]
"""Draws the next batch."""
NOTES = "recipe"
"""Folder, among the models, of the notes on each stage's training."""
AGAIN = "again"
"""Where a stage's note has the runs that went on from earlier weights; their steps are counted in its own."""
RECIPES = {
    "classifier": Recipe(steps=4000, batch=256, rate=2e-3),
    "clip": Recipe(steps=2500, batch=768, rate=1e-3),
    "vae": Recipe(steps=14_000, batch=128, rate=1e-3),
    "vae_whole": Recipe(steps=7300, batch=64, rate=5e-4),
    "words": Recipe(steps=1500, batch=256, rate=1e-3, ema=0.99),
    "base": Recipe(steps=20_000, batch=256, rate=1.2e-3, ema=0.9995, warm_up=300),
    "controlnet": Recipe(steps=1000, batch=256, rate=5e-4),
    "turbo": Recipe(steps=5000, batch=128, rate=1e-3),
}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Folders, device and scale of a pretraining run."""

    work: Path
    """Folder for the drawings."""
    out: Path
    """Folder for the trained models."""
    device: str
    scale: float = 1.0
    """Share of the full recipe's drawings and steps; 1 for real models, 0.001 for a rehearsal."""
    further: bool = False
    """Train from the weights in `out`, where a stage can, instead of from nothing."""
    seconds: float | None = None
    """End each training after so long instead of after its recipe's steps."""
    rate: float | None = None
    """Peak rate instead of the recipe's."""
    compiled: bool = False
    """Compile the base's UNet for its own training."""

    def count(self, full: int) -> int:
        """Return a number of drawings or steps at this scale."""
        return max(2, round(full * self.scale))

    def recipe(self, name: str) -> Recipe:
        """Return the recipe of a stage at this scale."""
        full = RECIPES[name]
        batch = full.batch if self.scale >= 0.01 else min(full.batch, 16)
        rate = full.rate if self.rate is None else self.rate
        return replace(full, steps=self.count(full.steps), batch=batch, rate=rate, seconds=self.seconds)

    def folder(self, shape: str, *, heroes: bool = False) -> Path:
        """Return the folder of the drawings of a shape, for the base or, with `heroes`, for the classifier alone."""
        return self.work / ("hero" if heroes else "drawings") / shape

    def drawings(self, shape: str) -> DrawingSet:
        """Return the drawings of a shape that the base is trained on."""
        return open_set(self.folder(shape))

    def note(self, stage: str, steps: int) -> None:
        """Write how a stage was trained, and in how many steps, next to the models, for the model card."""
        kinds = (False, True) if stage == "classifier" else (False,)
        folders = [self.folder(shape, heroes=heroes) for shape in SHAPES for heroes in kinds]
        drawings = sum(len(open_set(folder).truth) for folder in folders)
        told = asdict(self.recipe(stage)) | {"steps": steps, "drawings": drawings}
        del told["seconds"]
        file = self.out / NOTES / f"{stage}.json"
        file.parent.mkdir(exist_ok=True)
        if self.further and file.is_file():
            before = json.loads(file.read_text(encoding="utf-8"))
            told = before | {"steps": before["steps"] + steps, AGAIN: [*before.get(AGAIN, []), told]}
        file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def load_tokenizer(setup: Setup) -> Any:
    """Return the tokenizer that the draw stage trained."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(setup.out / "tokenizer")


def require_tokenizer(setup: Setup, model: str) -> None:
    """Refuse to go on with a model that has learnt other token numbers.

    Raises:
        ValueError: the tokenizer in its folder is not the one of the captions.
    """
    from transformers import CLIPTokenizer

    own = CLIPTokenizer.from_pretrained(setup.out / model).get_vocab()
    if own != load_tokenizer(setup).get_vocab():
        raise ValueError(f"{setup.out / model}: its tokenizer is not {setup.out / 'tokenizer'}; train it from nothing")


def each_shape(make: Callable[[str], Batches]) -> Batches:
    """Return a function whose batches are of one shape each, in the shares of SHARES.

    Args:
        make: returns, for a shape, the function that draws its batches.
    """
    batches, shares = {shape: make(shape) for shape in SHAPES}, torch.tensor([SHARES[shape] for shape in SHAPES])

    def batch() -> tuple[Tensor, ...]:
        return batches[list(SHAPES)[int(torch.multinomial(shares, 1))]]()

    return batch


def cut_out(pictures: Tensor, heads: Tensor, rows: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return squares out of pictures, uint8 [rows, side, side, 3], and their heads, [rows, 2, 3].

    Half of them lie around the first person's head, the others anywhere.

    Args:
        pictures: uint8 [N, H, W, 3].
        heads: int [N, 2, 3], column, row and radius of each head, 0 for nobody.
        rows: numbers of pictures.
        side: of the squares, in pixels.
    """
    heads, device = heads[rows], rows.device
    near = torch.rand(len(rows), device=device) < 0.5
    corners = []
    for axis, length in ((0, pictures.shape[2]), (1, pictures.shape[1])):
        anywhere = torch.randint(length - side + 1, (len(rows),), device=device)
        around = heads[:, 0, axis] - torch.randint(side, (len(rows),), device=device)
        corners.append(torch.where(near, around, anywhere).clamp(0, length - side))
    left, top = corners
    along = torch.arange(side, device=device)
    down, across = (top[:, None] + along)[:, :, None], (left[:, None] + along)[:, None, :]
    shift = torch.stack([left, top, torch.zeros_like(left)], dim=1)[:, None]
    moved = torch.where(heads[..., 2:] > 0, heads - shift.to(heads.dtype), heads)
    return pictures[rows[:, None, None], down, across], moved


def recoloured(pictures: Tensor) -> Tensor:
    """Return uint8 pictures [N, H, W, 3], a quarter of them with red, green and blue in another order.

    The VAE then shows small patterns in any colours, also in those that no drawing has.
    """
    order = torch.rand(len(pictures), 3, device=pictures.device).argsort(dim=1)
    kept = torch.rand(len(pictures), 1, device=pictures.device) >= RECOLOURED
    order = torch.where(kept, torch.arange(3, device=pictures.device), order)
    return pictures.gather(3, order[:, None, None, :].expand_as(pictures))


def pictures_with_heads(setup: Setup, batch_size: int, cut: int | None = None) -> Batches:
    """Return a function that draws batches of pictures and their heads, for the VAE.

    Args:
        cut: side in pixels of a square to cut out of each picture, at a head in half of them; None for whole pictures.
    """

    def batches(shape: str) -> Batches:
        drawings = setup.drawings(shape)
        pictures = on_device(setup.device, drawings.pictures[:MOST_RECONSTRUCTED])
        heads = on_device(setup.device, drawings.heads[:MOST_RECONSTRUCTED])

        def batch() -> tuple[Tensor, ...]:
            rows = random_rows(len(pictures), batch_size, setup.device)
            seen, its = cut_out(pictures, heads, rows, cut) if cut else (pictures[rows], heads[rows])
            return recoloured(seen), its

        return batch

    return each_shape(batches)


def unpack_edges(bits: Tensor, shape: str) -> Tensor:
    """Convert packed uint8 [N, H * W / 8] to float [N, 3, H, W] of 0 and 1."""
    width, height = SHAPES[shape]
    powers = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
    pixels = (bits.unsqueeze(-1) & powers).ne(0).view(len(bits), 1, height, width)
    return pixels.float().expand(-1, 3, -1, -1)


def on_device(device: str, array: Any) -> Tensor:
    """Return a numpy array, which may be mapped from disk, as a tensor on `device`."""
    tensor: Tensor = torch.from_numpy(np.array(array) if device == "cpu" else np.asarray(array)).to(device)
    return tensor


def load_tokens(setup: Setup, shape: str) -> Tensor:
    """Return the token numbers of all captions of a shape, int16 [drawings, wordings, 77]."""
    return on_device(setup.device, np.load(setup.folder(shape) / TOKENS))


def load_sizes(setup: Setup, shape: str) -> Tensor:
    """Return SDXL's micro-conditioning of all drawings of a shape, int16 [drawings, 6]."""
    return on_device(setup.device, setup.drawings(shape).sizes)


def one_wording(tokens: Tensor, rows: Tensor) -> Tensor:
    """Return the tokens of one random caption for each of the rows, int64 [rows, 77]."""
    return tokens[rows, random_rows(tokens.shape[1], len(rows), tokens.device)].long()


def load_latents(setup: Setup, shape: str) -> Callable[[Tensor], Tensor]:
    """Return a function that samples scaled latents of given rows; the drawings are encoded once and stored."""
    vae = load_vae(setup.out).to(setup.device)
    kept = setup.folder(shape) / LATENTS
    if kept.is_file():
        means, stds = torch.load(kept, map_location=setup.device, weights_only=True)
    else:
        means, stds = encode_pictures(vae, setup.drawings(shape).pictures)
        torch.save((means, stds), kept)
    scale = vae.config.scaling_factor

    def sample(rows: Tensor) -> Tensor:
        noise = torch.randn(len(rows), *means.shape[1:], device=means.device)
        drawn: Tensor = (means[rows].float() + stds[rows].float() * noise) * scale
        return drawn

    return sample


@torch.inference_mode()
def encode_pictures(vae: Any, pictures: Any) -> tuple[Tensor, Tensor]:
    """Return means and standard deviations of the latents of uint8 pictures [N, H, W, 3], fp16 [N, 4, H / 8, W / 8]."""
    device = vae.device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        some = (on_device(device, pictures[rows]) for rows in in_batches(len(pictures), 250))
        parts = [vae.encode(to_pixels(each)).latent_dist for each in some]
    return torch.cat([part.mean.half() for part in parts]), torch.cat([part.std.half() for part in parts])


@torch.inference_mode()
def reconstruct(vae: Any, pictures: Tensor) -> Tensor:
    """Return uint8 pictures [N, H, W, 3] as the VAE shows them, encoded and decoded."""
    device = vae.device.type
    parts = []
    for rows in in_batches(len(pictures), 250):
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            shown = vae.decode(vae.encode(to_pixels(pictures[rows])).latent_dist.mean).sample.float()
        parts.append(((shown / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1))
    return torch.cat(parts)
