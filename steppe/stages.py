"""The stages of pretraining. Each reads its inputs from disk and writes its model there.

draw -> classifier, clip and vae (pictures); words (text encoders) -> base (UNet and text encoders) -> controlnet
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from steppe import architecture
from steppe.captions import WORDINGS
from steppe.classifier import UNKNOWN, Classifier, save_classifier
from steppe.dataset import HERO_SEED, STRANGERS, draw_set, first_stranger, open_set, who_leads
from steppe.loops import Keeping, fit, random_rows
from steppe.material import (
    LATENTS,
    TOKENS,
    Setup,
    encode_pictures,
    load_latents,
    load_tokenizer,
    load_tokens,
    on_device,
    one_wording,
    unpack_edges,
)
from steppe.objectives import (
    IGNORED,
    ClassifierLoss,
    ControlLoss,
    DecoderLoss,
    LikenessLoss,
    NoiseLoss,
    ReconstructionLoss,
    TextEncoders,
    WordsLoss,
)
from steppe.strangers import SCENES_EACH
from steppe.tokenizer import encode, train_tokenizer
from steppe.world import ATTRIBUTES

DRAWINGS, HERO_DRAWINGS = 108_000, 15_000
CAPTION_DROPOUT = 0.1
DECODER_MARK = "vae/decoder.json"


def run_draw(setup: Setup) -> None:
    """Draw the pictures, train the tokenizer, and write the vocabulary of the base."""
    draw_set(setup.work / "drawings", max(500, setup.count(DRAWINGS)))
    captions = setup.drawings().captions
    if not (setup.out / "tokenizer").is_dir():  # existing models were trained with the existing tokenizer
        tokenizer = train_tokenizer(text for texts in captions for text in texts)
        for name in ("tokenizer", "tokenizer_2"):
            tokenizer.save_pretrained(setup.out / name)
    tokens = encode(load_tokenizer(setup), [text for texts in captions for text in texts])
    np.save(setup.work / TOKENS, tokens.numpy().astype(np.int16).reshape(len(captions), len(captions[0]), -1))
    canonical = {
        key: {value: words[0] for value, words in values.items()}
        for key, values in WORDINGS.items()
        if not key.endswith("2")  # the second person has the same words as the first
    }
    known = json.dumps(canonical, indent=2, ensure_ascii=False)
    (setup.out / "vocabulary.json").write_text(known + "\n", encoding="utf-8")


def run_classifier(setup: Setup) -> None:
    """Train the classifier on drawings of everybody, including Aldar, whom the other models must not see."""
    draw_set(setup.work / "hero", max(500, setup.count(HERO_DRAWINGS)), first_seed=HERO_SEED)
    recipe, sets = setup.recipe("classifier"), (setup.drawings(), open_set(setup.work / "hero"))
    pictures = torch.cat([on_device(setup.device, part.pictures) for part in sets])
    truth = torch.cat([on_device(setup.device, part.truth) for part in sets])
    classifier = Classifier().to(setup.device)

    def batch() -> tuple[Tensor, ...]:
        rows = random_rows(len(pictures), recipe.batch, setup.device)
        return pictures[rows], truth[rows]

    fit(ClassifierLoss(classifier), classifier, batch, recipe, Keeping(name="classifier", folder=setup.work))
    save_classifier(classifier, setup.out / "classifier")


def run_clip(setup: Setup) -> None:
    """Train the small CLIP."""
    from transformers import CLIPImageProcessor

    recipe, drawings, tokenizer = setup.recipe("clip"), setup.drawings(), load_tokenizer(setup)
    pictures, tokens = on_device(setup.device, drawings.pictures), load_tokens(setup)
    known = first_stranger(len(pictures))
    who = on_device(setup.device, who_leads(drawings.truth, known))
    clip = architecture.build_clip(tokenizer).to(setup.device)
    groups = round(recipe.batch * STRANGERS / SCENES_EACH)

    def batch() -> tuple[Tensor, ...]:
        people = random_rows(known, recipe.batch - groups * SCENES_EACH, setup.device)
        leaders = random_rows((len(pictures) - known) // SCENES_EACH, groups, setup.device)
        strangers = known + leaders[:, None] * SCENES_EACH + torch.arange(SCENES_EACH, device=setup.device)
        rows = torch.cat([people, strangers.flatten()])
        return pictures[rows], one_wording(tokens, rows), who[rows]

    fit(LikenessLoss(clip), clip, batch, recipe, Keeping(name="clip", folder=setup.work))
    _save(clip, setup.out / "clip")
    tokenizer.save_pretrained(setup.out / "clip")
    side = {"height": architecture.CLIP_SIZE, "width": architecture.CLIP_SIZE}
    CLIPImageProcessor(
        size=side, crop_size=side, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(setup.out / "clip")


def run_vae(setup: Setup) -> None:
    """Train the VAE, and measure the scaling factor of its latents."""
    recipe, pictures = setup.recipe("vae"), on_device(setup.device, setup.drawings().pictures)
    vae = load_vae(setup.start_from) if setup.start_from else architecture.build_vae()
    vae.to(setup.device, memory_format=torch.channels_last)

    def batch() -> tuple[Tensor, ...]:
        return (pictures[random_rows(len(pictures), recipe.batch, setup.device)],)

    fit(ReconstructionLoss(vae), vae, batch, recipe, Keeping(name="vae", folder=setup.work))
    means, stds = encode_pictures(vae, pictures[:2000])
    spread = (means.float().pow(2) + stds.float().pow(2)).mean().sqrt().item()
    vae.register_to_config(scaling_factor=round(1 / spread, 5))
    _save(vae, setup.out / "vae")
    (setup.work / LATENTS).unlink(missing_ok=True)


def run_decoder(setup: Setup) -> None:
    """Train the VAE's decoder further. The encoder is frozen, so that the base can be trained at the same time."""
    recipe, pictures = setup.recipe("decoder"), on_device(setup.device, setup.drawings().pictures)
    vae = load_vae(setup.out)
    vae.to(setup.device, memory_format=torch.channels_last)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)

    def batch() -> tuple[Tensor, ...]:
        return (pictures[random_rows(len(pictures), recipe.batch, setup.device)],)

    fit(DecoderLoss(vae), vae, batch, recipe, Keeping(name="decoder", folder=setup.work))
    _save(vae, setup.out / "vae")
    (setup.out / DECODER_MARK).write_text(json.dumps({"decoder_steps": recipe.steps}) + "\n", encoding="utf-8")


def run_words(setup: Setup) -> None:
    """Train the text encoders to predict attributes from captions, so that the base starts with useful embeddings."""
    recipe, tokenizer = setup.recipe("words"), load_tokenizer(setup)
    first, second = architecture.build_text_encoders(tokenizer)
    classes = [len(values) for values in ATTRIBUTES.values()]
    texts = TextEncoders(first, second)
    objective = WordsLoss(texts, sum(architecture.TEXT_WIDTHS), architecture.TEXT_WIDTHS[1], classes).to(setup.device)
    tokens = load_tokens(setup)
    known = setup.drawings().truth[:, : len(classes)].astype(np.int64)
    truth = on_device(setup.device, np.where(known == UNKNOWN, IGNORED, known))

    def batch() -> tuple[Tensor, ...]:
        rows = random_rows(len(tokens), recipe.batch, setup.device)
        return one_wording(tokens, rows), truth[rows]

    fit(objective, objective, batch, recipe, Keeping(name="words", folder=setup.work), compiled=False)
    _save(first, setup.out / "text_encoder")
    _save(second, setup.out / "text_encoder_2")


def run_base(setup: Setup) -> None:
    """Train the UNet and both text encoders together, on stored latents."""
    recipe, tokenizer = setup.recipe("base"), load_tokenizer(setup)
    unet, texts = architecture.build_unet().to(memory_format=torch.channels_last), load_text_encoders(setup.out)
    learners = nn.ModuleDict({"unet": unet, "texts": texts}).to(setup.device)
    latents, tokens = load_latents(setup), load_tokens(setup)
    empty = encode(tokenizer, [""]).to(setup.device, tokens.dtype)

    def batch() -> tuple[Tensor, ...]:
        rows = random_rows(len(tokens), recipe.batch, setup.device)
        unsaid = torch.rand(len(rows), 1, device=setup.device) < CAPTION_DROPOUT
        return latents(rows), torch.where(unsaid, empty, one_wording(tokens, rows)).long()

    fit(
        NoiseLoss(unet, texts, architecture.build_scheduler()).to(setup.device),
        learners,
        batch,
        recipe,
        Keeping(name="base", folder=setup.work),
    )
    for model, name in ((unet, "unet"), (texts.first, "text_encoder"), (texts.second, "text_encoder_2")):
        _save(model, setup.out / name)
    architecture.build_scheduler().save_pretrained(setup.out / "scheduler")
    write_model_index(setup.out)


def run_controlnet(setup: Setup) -> None:
    """Train the Canny ControlNet with the base frozen."""
    from diffusers import UNet2DConditionModel

    recipe = setup.recipe("controlnet")
    unet = UNet2DConditionModel.from_pretrained(setup.out / "unet", torch_dtype=torch.float32)
    unet.to(memory_format=torch.channels_last)
    texts = load_text_encoders(setup.out)
    controlnet = architecture.build_controlnet(unet).to(setup.device, memory_format=torch.channels_last)
    objective = ControlLoss(
        controlnet, unet.requires_grad_(False), texts.requires_grad_(False), architecture.build_scheduler()
    )
    latents, tokens = load_latents(setup), load_tokens(setup)
    edges = on_device(setup.device, setup.drawings().edges)

    def batch() -> tuple[Tensor, ...]:
        rows = random_rows(len(tokens), recipe.batch, setup.device)
        return latents(rows), one_wording(tokens, rows), unpack_edges(edges[rows])

    fit(objective.to(setup.device), controlnet, batch, recipe, Keeping(name="controlnet", folder=setup.work))
    _save(controlnet, setup.out / "controlnet")


@dataclass(frozen=True)
class Stage:
    """One step of the pretraining."""

    run: Callable[[Setup], None]
    after: tuple[str, ...]
    """Stages whose products it reads."""
    product: str
    """The file that it writes last, below the output folder; if it exists, the stage is done."""


STAGES: dict[str, Stage] = {
    # The longest chain comes first, because the first stage that can run gets the next free GPU.
    "draw": Stage(run_draw, (), "vocabulary.json"),
    "vae": Stage(run_vae, ("draw",), "vae/diffusion_pytorch_model.safetensors"),
    "words": Stage(run_words, ("draw",), "text_encoder_2/model.safetensors"),
    "base": Stage(run_base, ("vae", "words"), "model_index.json"),
    "controlnet": Stage(run_controlnet, ("base",), "controlnet/diffusion_pytorch_model.safetensors"),
    "decoder": Stage(run_decoder, ("vae",), DECODER_MARK),
    "clip": Stage(run_clip, ("draw",), "clip/preprocessor_config.json"),
    "classifier": Stage(run_classifier, ("draw",), "classifier/model.safetensors"),
}


def load_vae(out: Path) -> Any:
    """Return the saved VAE in fp32."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(out / "vae", torch_dtype=torch.float32)
    vae.register_to_config(_name_or_path=None)  # otherwise the saved config would name this machine's folder
    return vae


def load_text_encoders(out: Path) -> TextEncoders:
    """Return the saved text encoders in fp32."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    return TextEncoders(
        CLIPTextModel.from_pretrained(out / "text_encoder", dtype=torch.float32),
        CLIPTextModelWithProjection.from_pretrained(out / "text_encoder_2", dtype=torch.float32),
    )


def write_model_index(out: Path) -> None:
    """Write `model_index.json`, by which diffusers recognises an SDXL pipeline."""
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


def _save(model: Any, folder: Path) -> None:
    model.half().save_pretrained(folder)
