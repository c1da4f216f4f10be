"""Train the character LoRA of Aldar on the steppe base, with the document's configuration.

    python -m steppe.character --out weights/steppe/checkpoint-1000

Rank 64, alpha 32, dropout 0.1, gaussian initialisation, on the query and value projections of the UNet and of both
text encoders; AdamW with weight decay 0.01, gradients clipped at 1.0, cosine schedule after 100 warm-up steps, 1000
steps of batch 4, seed 42. The 70 pictures are encoded once.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from steppe.loops import Keeping, Recipe, fit, random_rows
from steppe.objectives import NoiseLoss, TextEncoders, to_floats
from steppe.tokenizer import encode

RANK, ALPHA, DROPOUT = 64, 32, 0.1
STEPS, BATCH, SEED = 1000, 4, 42
RATE = 1e-4
FOLDERS = {"unet": "unet_lora", "text_encoder": "text_encoder_one_lora", "text_encoder_2": "text_encoder_two_lora"}


@dataclass(frozen=True, kw_only=True)
class Base:
    """The frozen base, in fp32 on one device."""

    unet: Any
    first: Any
    second: Any
    vae: Any
    tokenizer: Any
    scheduler: Any


def load_base(folder: Path, device: str) -> Base:
    """Load a base from its folder.

    Raises:
        OSError: the folder holds no such models.
    """
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    pipeline.to(device)
    return Base(
        unet=pipeline.unet,
        first=pipeline.text_encoder,
        second=pipeline.text_encoder_2,
        vae=pipeline.vae,
        tokenizer=pipeline.tokenizer,
        scheduler=pipeline.scheduler,
    )


def read_pictures(folder: Path) -> tuple[Tensor, list[str]]:
    """The pictures, uint8 [N, 256, 256, 3], and captions of a folder of png + txt pairs, by name."""
    files = sorted(folder.glob("*.png"))
    pictures = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return torch.from_numpy(pictures), [file.with_suffix(".txt").read_text(encoding="utf-8").strip() for file in files]


def add_adapters(base: Base) -> nn.ModuleDict:
    """Freeze the base and put a fresh LoRA on its UNet and text encoders, as peft models."""
    from peft import LoraConfig, get_peft_model

    def adapted(model: Any, targets: list[str]) -> Any:
        model.requires_grad_(False)
        shape = LoraConfig(
            r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, init_lora_weights="gaussian", target_modules=targets
        )
        with warnings.catch_warnings():
            # peft asks transformers by a name that the latter calls deprecated; the answer is the same.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            return get_peft_model(model, shape)

    return nn.ModuleDict(
        {
            "unet": adapted(base.unet, ["to_q", "to_v"]),
            "text_encoder": adapted(base.first, ["q_proj", "v_proj"]),
            "text_encoder_2": adapted(base.second, ["q_proj", "v_proj"]),
        }
    )


def train(base: Base, pictures: Tensor, captions: list[str], rate: float, steps: int) -> nn.ModuleDict:
    """Train the LoRA and return its peft models."""
    device = base.unet.device
    torch.manual_seed(SEED)
    with torch.inference_mode():
        latent = base.vae.encode(to_floats(pictures.to(device))).latent_dist
        means, stds = latent.mean.clone(), latent.std.clone()
    scale = base.vae.config.scaling_factor
    tokens = encode(base.tokenizer, captions).to(device)
    adapters = add_adapters(base)

    def batch() -> tuple[Tensor, ...]:
        rows = random_rows(len(tokens), BATCH, device)
        return (means[rows] + stds[rows] * torch.randn_like(means[rows])) * scale, tokens[rows]

    texts = TextEncoders(adapters["text_encoder"], adapters["text_encoder_2"])
    objective = NoiseLoss(adapters["unet"], texts, base.scheduler).to(device).train()
    recipe = Recipe(steps=steps, batch=BATCH, rate=rate, ema=0.0, warm_up=100)
    fit(objective, adapters, batch, recipe, Keeping(name="character"), compiled=False)
    return adapters.eval()


def save(adapters: nn.ModuleDict, out: Path) -> None:
    """Write the document's three adapter folders, in fp16."""
    for name, folder in FOLDERS.items():
        adapter: Any = adapters[name].half()
        adapter.save_pretrained(str(out / folder))
        (out / folder / "README.md").unlink(missing_ok=True)  # peft's empty model card


def main(arguments: list[str] | None = None) -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(
        prog="python -m steppe.character", description="Train Aldar's LoRA on the steppe base."
    )
    parser.add_argument("--base", type=Path, default=Path("weights/steppe"), help="the base (default: %(default)s)")
    parser.add_argument(
        "--images", type=Path, default=Path("data/images"), help="png + txt pairs (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("weights/steppe/checkpoint-1000"), help="(default: %(default)s)"
    )
    parser.add_argument("--rate", type=float, default=RATE, help="peak learning rate (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of batch 4 (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    given = parser.parse_args(arguments)
    pictures, captions = read_pictures(given.images)
    save(train(load_base(given.base, given.device), pictures, captions, given.rate, given.steps), given.out)


if __name__ == "__main__":
    main()
