"""A random SDXL small enough to be made, saved, loaded and painted with in a second: real classes, no mocks.

64x64 pictures, 8x8 latents. `save_world` writes what a profile names: base, ControlNet, CLIP.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from models.diffusion.loading import quieten
from models.diffusion.requests import ControlPicture, PainterSetup, PaintRequest
from models.profiles import PROFILES, STEPPE, Profile
from models.scores import Bounds
from models.sizes import Shape, Size
from models.sources import Component
from models.vision.likeness import Calibration, Seen

SIZE = 64
_START, _END = "<|startoftext|>", "<|endoftext|>"
_TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_ADDITION = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 4 * 6 + 16,
}
_BLOCKS = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "attention_head_dim": (1, 2),
    "transformer_layers_per_block": 1,
    "use_linear_projection": True,
    "norm_num_groups": 4,
    **_ADDITION,
}


@pytest.fixture
def tiny_world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """The profile "tiny", made once a session. Test modules take it in by `tiny_world = tiny_models.tiny_world`."""
    own = made_once(tmp_path_factory)
    monkeypatch.setitem(PROFILES, own.name, own)
    return own


def made_once(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """The profile "tiny", with its models on disk."""
    folder = tmp_path_factory.getbasetemp() / "tiny_world"
    return profile(folder) if folder.is_dir() else save_world(folder)


def setup(**changes: Any) -> PainterSetup:
    """A setup on the CPU, of the profile that is named; one of "tiny" may be made where there is no such world."""
    name = changes.pop("profile", "tiny")
    named = PROFILES.get(name) or profile(Path("/absent"), name)
    plain = {"profile": named, "adapter": None, "device": "cpu", "precision": "fp32", "with_controlnet": False}
    return PainterSetup.model_validate({**plain, "batch_size": 1, **changes})


def request(seed: int = 1, **changes: Any) -> PaintRequest:
    """A request for a 64x64 picture in three steps."""
    plain = {"prompt": "aldar in a yurt", "negative_prompt": "", "size": SIZE, "steps": 3, "guidance": 3.0}
    return PaintRequest.model_validate({**plain, "control": None, "seed": seed, **changes})


def control(file: Path, **changes: Any) -> ControlPicture:
    """A control picture at full strength."""
    plain = {"file": str(file), "scale": 1.0, "end": 1.0, "kind": "reference"}
    return ControlPicture.model_validate({**plain, **changes})


def tokenizer() -> Any:
    """A byte-level CLIP tokenizer with three merges."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    merges = [("a", "l"), ("d", "a"), ("s", "t")]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), _START, _END]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges)


def _token_settings(words: Any) -> dict[str, int]:
    return {
        "vocab_size": len(words),
        "max_position_embeddings": 77,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id,
        "pad_token_id": words.pad_token_id,
    }


def pipeline() -> Any:
    """A random `StableDiffusionXLPipeline` on the CPU."""
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    words = tokenizer()
    text = CLIPTextConfig(**_TEXT, **_token_settings(words), projection_dim=16)
    return StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            block_out_channels=(4, 4, 8, 8),
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=SIZE,
        ),
        unet=UNet2DConditionModel(
            sample_size=SIZE // 8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            **_BLOCKS,
        ),
        text_encoder=CLIPTextModel(text),
        text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=words,
        tokenizer_2=words,
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        add_watermarker=False,
    )


def save_world(folder: Path) -> Profile:
    """Save base, ControlNet and CLIP under `folder`, in fp16 as they are shipped; returns their profile."""
    quieten()
    from diffusers import ControlNetModel
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    base = pipeline()
    base.to(torch.float16).save_pretrained(folder)
    controlnet = ControlNetModel(
        conditioning_embedding_out_channels=(4, 4, 8, 8),
        down_block_types=("DownBlock2D",) * 2,
        mid_block_type="UNetMidBlock2D",
        **_BLOCKS,
    )
    with torch.no_grad():
        # A fresh ControlNet's exits are zero, so it would say nothing.
        for name, value in controlnet.named_parameters():
            if "controlnet" in name and value.ndim == 4:
                value.normal_(std=0.2)
    controlnet.to(torch.float16).save_pretrained(folder / "controlnet")
    vision = {**_TEXT, "image_size": 32, "patch_size": 8}
    text = {**_TEXT, **_token_settings(base.tokenizer)}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))
    clip.to(torch.float16).save_pretrained(folder / "clip")
    base.tokenizer.save_pretrained(folder / "clip")
    size = {"shortest_edge": 32}
    CLIPImageProcessorPil(size=size, crop_size={"height": 32, "width": 32}).save_pretrained(folder / "clip")
    return profile(folder)


def profile(folder: Path, name: str = "tiny") -> Profile:
    """A profile of the models saved under `folder`."""
    return STEPPE.model_copy(
        update={
            "name": name,
            "base": Component(source=str(folder), size=0),
            "controlnet": Component(source=str(folder / "controlnet"), size=0),
            "clip": Component(source=str(folder / "clip"), size=0),
            "adapter": None,
            "native_size": SIZE,
            "shapes": (Shape(aspect="16:9", size=Size(120, 72)),),
            "steps": 3,
        }
    )


def tiny_dino(folder: Path) -> Component:
    """A random DINOv2 with pictures of 28 pixels."""
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    Dinov2Model(Dinov2Config(**shape)).save_pretrained(folder)
    BitImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
    return Component(source=str(folder), size=0)


def calibration_of(seen: Seen, encoder: str) -> Calibration:
    """A calibration by which the hero of these features is himself."""
    measured = {"auc": 1.0, "curve": (), "his": 8, "others": 8, "caught": 1.0, "false_alarms": 0.0}
    bounds = Bounds(least=0.5, most=0.9, most_around=0.9, calibrated=True)
    crop, head = ({"direction": tuple(part), "offset": 0.0} for part in (seen.crop, seen.head))
    fitted = {"trigger": "aldar", "encoder": encoder, "crop": crop, "head": head, "bounds": bounds}
    return Calibration.model_validate({**fitted, **measured, "copies_caught": 1.0, "copies_false": 0.0})
