"""Make model folders of SDXL's full size with random weights, since speed and memory do not depend on the values.

    python -m benchmarks.full_size /tmp/full-size           # about 10.5 GB: base, ControlNet, CLIP, LoRA
    python -m benchmarks.full_size /tmp/small --small       # a few MB of the same structure

    FOLDER/base         stable-diffusion-xl-base-1.0, fp16
    FOLDER/controlnet   controlnet-canny-sdxl-1.0, fp16
    FOLDER/clip         clip-vit-base-patch32, fp32
    FOLDER/lora         rank 64, alpha 32: three PEFT folders, and one file in diffusers' format
    FOLDER/profiles.json   the profile "full-size" with these models: set STORYBOARD_PROFILES_FILE to it

The tokenizers are those of weights/steppe, which fit every vocabulary here.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers.utils.logging
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
)

from benchmarks.architectures import FULL, NAME, PROFILES_FILE, SCHEDULER, SMALL, Architecture, Config
from benchmarks.figures import Figures, choose, seconds_of
from models.diffusion.adapter_files import LAYOUT
from models.diffusion.loading import quieten, read_tokenizer
from models.diffusion.weights import give_memory_back
from models.lora.publishing.export import write_diffusers_file
from models.profiles import PROFILES, ROOT, Profile, read_own
from models.records import Adapter
from models.storage.adapters import SINGLE_FILE

RANK, ALPHA = 64, 32
TARGETS = {"unet": ("to_q", "to_v"), "text_encoder": ("q_proj", "v_proj"), "text_encoder_2": ("q_proj", "v_proj")}
_STD = 0.02
_TOKENIZER = ROOT / "weights" / "steppe" / "tokenizer"
_LONGEST = 77


def make(folder: Path, architecture: Architecture, device: str, figures: Figures) -> Profile:
    """Make all folders, replacing existing ones; register and return their profile.

    Args:
        device: where the random weights are drawn; a GPU needs seconds.

    Raises:
        OSError: the disk is full, or the folder is not writable.
    """
    quieten()
    diffusers.utils.logging.set_verbosity_error()  # it warns of every cast, also of harmless ones
    torch.manual_seed(0)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stages: dict[str, Callable[[], None]] = {
        "base and lora": lambda: _make_base(folder, architecture, device, figures),
        "controlnet": lambda: _make_controlnet(folder / "controlnet", architecture, device, figures),
        "clip": lambda: _make_clip(folder / "clip", architecture, device),
    }
    for name, stage in stages.items():
        figures.note(f"made {name}", seconds=seconds_of(device, stage))
        give_memory_back()
    _write_profile(folder, architecture)
    figures.note("made", folder=str(folder), gigabytes=sum(f.stat().st_size for f in folder.rglob("*")) / 1e9)
    return known(folder)


def known(folder: Path) -> Profile:
    """Register and return the profile of an existing folder.

    Raises:
        InputError: the folder is missing or incomplete.
    """
    PROFILES.update(read_own(folder.absolute() / PROFILES_FILE))
    return PROFILES[NAME]


def lora_of(folder: Path) -> Adapter:
    """Return the record of the folder's LoRA."""
    return Adapter(path=str(folder.absolute() / "lora"), fingerprint="random", source="lora")


def _built(cls: Any, config: Config, device: str, dtype: torch.dtype = torch.float16) -> Any:
    """Return a model with the library's own initial weights, whose outputs are finite in every precision."""
    with torch.device(device):
        return cls(**config).to(dtype)


def _token_ids() -> Config:
    words = read_tokenizer(_TOKENIZER, _LONGEST)
    return {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}


def _check(name: str, model: Any, architecture: Architecture, figures: Figures) -> None:
    count = sum(weight.numel() for weight in model.parameters())
    published = architecture.parameters.get(name, count)
    figures.note(name, parameters=count, as_published=count == published)


def _make_base(folder: Path, architecture: Architecture, device: str, figures: Figures) -> None:
    both = architecture.text_encoder, architecture.text_encoder_2
    texts = [CLIPTextConfig(**config, **_token_ids()) for config in both]
    parts = {
        "unet": _built(UNet2DConditionModel, architecture.unet, device),
        "vae": _built(AutoencoderKL, architecture.vae, device),
        "text_encoder": _built(CLIPTextModel, {"config": texts[0]}, device),
        "text_encoder_2": _built(CLIPTextModelWithProjection, {"config": texts[1]}, device),
    }
    for name, model in parts.items():
        _check(name, model, architecture, figures)
    words = {name: read_tokenizer(_TOKENIZER, _LONGEST) for name in ("tokenizer", "tokenizer_2")}
    pipeline = StableDiffusionXLPipeline(
        **parts, **words, scheduler=EulerDiscreteScheduler(**SCHEDULER), add_watermarker=False
    )
    pipeline.save_pretrained(folder / "base")
    _make_lora(folder / "lora", parts)


def _make_controlnet(folder: Path, architecture: Architecture, device: str, figures: Figures) -> None:
    controlnet = _built(ControlNetModel, architecture.controlnet, device)
    _check("controlnet", controlnet, architecture, figures)
    with torch.no_grad():
        for name, weight in controlnet.named_parameters():
            if name.startswith(("controlnet_down_blocks", "controlnet_mid_block")):
                weight.normal_(std=_STD)  # a new ControlNet's output layers are zero
    controlnet.save_pretrained(folder)


def _make_clip(folder: Path, architecture: Architecture, device: str) -> None:
    text, vision = {**architecture.clip_text, **_token_ids()}, architecture.clip_vision
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=architecture.projection)
    _built(CLIPModel, {"config": config}, device, torch.float32).save_pretrained(folder)
    read_tokenizer(_TOKENIZER, _LONGEST).save_pretrained(folder)
    side = vision["image_size"]
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor.save_pretrained(folder)


def _make_lora(folder: Path, parts: dict[str, Any]) -> None:
    """Write a LoRA in this project's and in diffusers' format."""
    for name, part in LAYOUT.items():
        tensors = {}
        for module, layer in parts[part].named_modules():
            if module.endswith(TARGETS[part]):
                outputs, inputs = layer.weight.shape
                for half, shape in (("A", (RANK, inputs)), ("B", (outputs, RANK))):
                    drawn = torch.randn(shape, device=layer.weight.device) * _STD
                    tensors[f"base_model.model.{module}.lora_{half}.weight"] = drawn.to("cpu", torch.float16)
        place = folder / name
        place.mkdir(parents=True)
        config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
        text = json.dumps({**config, "target_modules": list(TARGETS[part])})
        (place / "adapter_config.json").write_text(text, encoding="utf-8")
        save_file(tensors, place / "adapter_model.safetensors", metadata={"format": "pt"})
    write_diffusers_file(folder, folder / SINGLE_FILE)


def _write_profile(folder: Path, architecture: Architecture) -> None:
    """Write the profile: sdxl with these models and the offline writer."""
    places = {
        name: {"source": str(folder.absolute() / name), "variant": None, "size": 0, "files": (), "pickled": False}
        for name in ("base", "controlnet", "clip")
    }
    small = {"memory": 0} if architecture is SMALL else {}
    own = {"like": "sdxl", **places, "native_size": architecture.side, "writer": "offline", **small}
    (folder / PROFILES_FILE).write_text(json.dumps({NAME: own}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Make the folders, and print their size."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_size", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder to create; an existing one is replaced")
    parser.add_argument("--small", action="store_true", help="a few MB of the same structure, for a rehearsal")
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    given = parser.parse_args()
    device = choose(given.device)
    figures = Figures(None, device)
    figures.header("full size")
    make(given.folder, SMALL if given.small else FULL, device, figures)


if __name__ == "__main__":
    main()
