"""The stages of pretraining. Each reads its inputs from disk and writes its model there.

draw -> clip, vae and vae_whole (pictures); words (text encoders) -> base (UNet and text encoders) -> controlnet, turbo
vae_whole -> classifier
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from steppe import architecture
from steppe.captions import WORDINGS
from steppe.classifier import UNKNOWN, Classifier, load_classifier, save_classifier
from steppe.dataset import STRANGERS, draw_set, first_stranger, is_plain, open_set, who_leads
from steppe.likeness_loss import LikenessLoss
from steppe.loops import Keeping, fit, random_rows
from steppe.material import (
    LATENTS,
    NOTES,
    TOKENS,
    Batches,
    Setup,
    each_shape,
    encode_pictures,
    load_latents,
    load_sizes,
    load_tokenizer,
    load_tokens,
    on_device,
    one_wording,
    pictures_with_heads,
    reconstruct,
    require_tokenizer,
    unpack_edges,
)
from steppe.objectives import (
    IGNORED,
    ClassifierLoss,
    ControlLoss,
    NoiseLoss,
    ReconstructionLoss,
    SquaredLoss,
    TextEncoders,
    WordsLoss,
)
from steppe.saved import load_clip, load_controlnet, load_text_encoders, load_unet, load_vae, save, write_model_index
from steppe.shapes import SHAPES
from steppe.strangers import ROBE_SCENES
from steppe.tokenizer import encode, train_tokenizer
from steppe.turbo import PRODUCT, run_turbo
from steppe.world import ATTRIBUTES, HATS

DRAWINGS = {"square": 42_000, "wide": 32_000, "tall": 22_000}
HERO_DRAWINGS = {"square": 9_000, "wide": 5_000, "tall": 4_000}
FEWEST = 500
"""Drawings of each shape at a small scale."""
CAPTION_DROPOUT = 0.1


def run_draw(setup: Setup) -> None:
    """Draw the pictures, train the tokenizer, and write the vocabulary of the base."""
    for shape, count in DRAWINGS.items():
        draw_set(setup.folder(shape), max(FEWEST, setup.count(count)), shape)
    captions = {shape: setup.drawings(shape).captions for shape in SHAPES}
    if not (setup.out / "tokenizer").is_dir():  # existing models were trained with the existing tokenizer
        tokenizer = train_tokenizer(text for some in captions.values() for texts in some for text in texts)
        for name in ("tokenizer", "tokenizer_2"):
            tokenizer.save_pretrained(setup.out / name)
    for shape, some in captions.items():
        tokens = encode(load_tokenizer(setup), [text for texts in some for text in texts]).numpy().astype(np.int16)
        np.save(setup.folder(shape) / TOKENS, tokens.reshape(len(some), len(some[0]), -1))
    canonical = {
        key: {value: words[0] for value, words in values.items()}
        for key, values in WORDINGS.items()
        if not key.endswith("2")  # the second person has the same words as the first
    }
    known = json.dumps(canonical, indent=2, ensure_ascii=False)
    (setup.out / "vocabulary.json").write_text(known + "\n", encoding="utf-8")


def run_classifier(setup: Setup) -> int:
    """Train the classifier on drawings of everybody, including Aldar, whom the other models must not see.

    It sees half of them as the VAE shows them: painted pictures are no sharper.
    """
    recipe = setup.recipe("classifier")
    classifier = load_classifier(setup.out / "classifier").train() if setup.further else Classifier()
    classifier.to(setup.device)
    vae = load_vae(setup.out).to(setup.device)

    def batches(shape: str) -> Batches:
        heroes = setup.folder(shape, heroes=True)
        draw_set(heroes, max(FEWEST, setup.count(HERO_DRAWINGS[shape])), shape, heroes=True)
        pictures, truth = [], []
        for part in (setup.drawings(shape), open_set(heroes)):
            plain = is_plain(part.sizes)  # what a crop cuts off has labels, too
            pictures.append(part.pictures[plain])
            truth.append(part.truth[plain])
        seen, labels = (on_device(setup.device, np.concatenate(parts)) for parts in (pictures, truth))
        seen[1::2] = reconstruct(vae, seen[1::2])

        def batch() -> tuple[Tensor, ...]:
            rows = random_rows(len(seen), recipe.batch, setup.device)
            return seen[rows], labels[rows]

        return batch

    keeping = Keeping(name="classifier", folder=setup.work)
    steps = fit(ClassifierLoss(classifier), classifier, each_shape(batches), recipe, keeping)
    save_classifier(classifier, setup.out / "classifier")
    return steps


def run_clip(setup: Setup) -> int:
    """Train the small CLIP."""
    from transformers import CLIPImageProcessor

    recipe, tokenizer = setup.recipe("clip"), load_tokenizer(setup)
    clip = load_clip(setup.out) if setup.further else architecture.build_clip(tokenizer)
    if setup.further:
        require_tokenizer(setup, "clip")
    clip.to(setup.device)
    groups = round(recipe.batch * STRANGERS / ROBE_SCENES)

    def batches(shape: str) -> Batches:
        drawings, tokens = setup.drawings(shape), load_tokens(setup, shape)
        pictures, known = on_device(setup.device, drawings.pictures), first_stranger(len(drawings.truth))
        who = on_device(setup.device, who_leads(drawings.truth, known))
        hat = on_device(setup.device, drawings.truth[:, 0].astype(np.int64) * len(HATS) + drawings.truth[:, 2])
        heads = on_device(setup.device, drawings.heads)
        plain = on_device(setup.device, np.flatnonzero(is_plain(drawings.sizes[:known])))

        def batch() -> tuple[Tensor, ...]:
            people = plain[random_rows(len(plain), recipe.batch - groups * ROBE_SCENES, setup.device)]
            leaders = random_rows((len(pictures) - known) // ROBE_SCENES, groups, setup.device)
            strangers = known + leaders[:, None] * ROBE_SCENES + torch.arange(ROBE_SCENES, device=setup.device)
            rows = torch.cat([people, strangers.flatten()])
            return pictures[rows], one_wording(tokens, rows), heads[rows], who[rows], hat[rows]

        return batch

    steps = fit(LikenessLoss(clip), clip, each_shape(batches), recipe, Keeping(name="clip", folder=setup.work))
    save(clip, setup.out / "clip")
    tokenizer.save_pretrained(setup.out / "clip")
    side = {"height": architecture.CLIP_SIZE, "width": architecture.CLIP_SIZE}
    CLIPImageProcessor(
        size=side, crop_size=side, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(setup.out / "clip")
    return steps


def run_vae(setup: Setup) -> int:
    """Train the VAE on squares that are cut out of the pictures, which takes a quarter of the time."""
    recipe, vae = setup.recipe("vae"), load_vae(setup.out) if setup.further else architecture.build_vae()
    vae.to(setup.device, memory_format=torch.channels_last)
    batch = pictures_with_heads(setup, recipe.batch, architecture.SIZE // 2)
    steps = fit(ReconstructionLoss(vae), vae, batch, recipe, Keeping(name="vae", folder=setup.work))
    save(vae, setup.out / "vae")
    return steps


def run_vae_whole(setup: Setup) -> int:
    """Train the VAE further on whole pictures, and measure the scaling factor of its latents.

    With `--further`, the decoder alone: base, LoRAs and stored latents are of this encoder.
    """
    recipe, vae = setup.recipe("vae_whole"), load_vae(setup.out)
    if setup.further:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    vae.to(setup.device, memory_format=torch.channels_last)
    batch = pictures_with_heads(setup, recipe.batch)
    steps = fit(SquaredLoss(vae), vae, batch, recipe, Keeping(name="vae_whole", folder=setup.work))
    if not setup.further:
        means, stds = encode_pictures(vae, setup.drawings("square").pictures[:2000])
        spread = (means.float().pow(2) + stds.float().pow(2)).mean().sqrt().item()
        vae.register_to_config(scaling_factor=round(1 / spread, 5))
        for shape in SHAPES:
            (setup.folder(shape) / LATENTS).unlink(missing_ok=True)
    save(vae, setup.out / "vae")
    return steps


def run_words(setup: Setup) -> int:
    """Train the text encoders to predict attributes from captions, so that the base starts with useful embeddings."""
    recipe, tokenizer = setup.recipe("words"), load_tokenizer(setup)
    first, second = architecture.build_text_encoders(tokenizer)
    classes = [len(values) for values in ATTRIBUTES.values()]
    texts = TextEncoders(first, second)
    objective = WordsLoss(texts, sum(architecture.TEXT_WIDTHS), architecture.TEXT_WIDTHS[1], classes).to(setup.device)
    tokens = load_tokens(setup, "square")
    known = setup.drawings("square").truth[:, : len(classes)].astype(np.int64)
    truth = on_device(setup.device, np.where(known == UNKNOWN, IGNORED, known))

    def batch() -> tuple[Tensor, ...]:
        rows = random_rows(len(tokens), recipe.batch, setup.device)
        return one_wording(tokens, rows), truth[rows]

    steps = fit(objective, objective, batch, recipe, Keeping(name="words", folder=setup.work))
    save(first, setup.out / "text_encoder")
    save(second, setup.out / "text_encoder_2")
    return steps


def run_base(setup: Setup) -> int:
    """Train the UNet and both text encoders together, on stored latents."""
    recipe, tokenizer = setup.recipe("base"), load_tokenizer(setup)
    unet = load_unet(setup.out) if setup.further else architecture.build_unet().to(memory_format=torch.channels_last)
    texts = load_text_encoders(setup.out)
    learners = nn.ModuleDict({"unet": unet, "texts": texts}).to(setup.device)
    empty = encode(tokenizer, [""]).to(setup.device)
    if setup.compiled:
        unet.compile(dynamic=False)

    def batches(shape: str) -> Batches:
        latents, tokens, sizes = load_latents(setup, shape), load_tokens(setup, shape), load_sizes(setup, shape)
        heads = on_device(setup.device, setup.drawings(shape).heads)

        def batch() -> tuple[Tensor, ...]:
            rows = random_rows(len(tokens), recipe.batch, setup.device)
            unsaid = torch.rand(len(rows), 1, device=setup.device) < CAPTION_DROPOUT
            return latents(rows), torch.where(unsaid, empty, one_wording(tokens, rows)), sizes[rows], heads[rows]

        return batch

    objective = NoiseLoss(unet, texts, architecture.build_scheduler()).to(setup.device)
    steps = fit(objective, learners, each_shape(batches), recipe, Keeping(name="base", folder=setup.work))
    for model, name in ((unet, "unet"), (texts.first, "text_encoder"), (texts.second, "text_encoder_2")):
        save(model, setup.out / name)
    architecture.build_scheduler().save_pretrained(setup.out / "scheduler")
    write_model_index(setup.out)
    return steps


def run_controlnet(setup: Setup) -> int:
    """Train the Canny ControlNet with the base frozen."""
    recipe, unet = setup.recipe("controlnet"), load_unet(setup.out)
    texts = load_text_encoders(setup.out)
    controlnet = load_controlnet(setup.out) if setup.further else architecture.build_controlnet(unet)
    controlnet.to(setup.device, memory_format=torch.channels_last)
    objective = ControlLoss(
        controlnet, unet.requires_grad_(False), texts.requires_grad_(False), architecture.build_scheduler()
    )

    def batches(shape: str) -> Batches:
        latents, tokens, sizes = load_latents(setup, shape), load_tokens(setup, shape), load_sizes(setup, shape)
        heads = on_device(setup.device, setup.drawings(shape).heads)
        edges = on_device(setup.device, setup.drawings(shape).edges)

        def batch() -> tuple[Tensor, ...]:
            rows = random_rows(len(tokens), recipe.batch, setup.device)
            lines = unpack_edges(edges[rows], shape)
            return latents(rows), one_wording(tokens, rows), sizes[rows], heads[rows], lines

        return batch

    keeping = Keeping(name="controlnet", folder=setup.work)
    steps = fit(objective.to(setup.device), controlnet, each_shape(batches), recipe, keeping)
    save(controlnet, setup.out / "controlnet")
    return steps


@dataclass(frozen=True)
class Stage:
    """One step of the pretraining."""

    run: Callable[[Setup], int | None]
    """Returns the steps of its training, if it is one."""
    after: tuple[str, ...]
    """Stages whose products it reads."""
    product: str
    """The file that it writes last, below the output folder; if it exists, the stage is done."""


STAGES: dict[str, Stage] = {
    # The longest chain comes first, because the first stage that can run gets the next free GPU.
    "draw": Stage(run_draw, (), "vocabulary.json"),
    "vae": Stage(run_vae, ("draw",), "vae/diffusion_pytorch_model.safetensors"),
    "words": Stage(run_words, ("draw",), "text_encoder_2/model.safetensors"),
    "vae_whole": Stage(run_vae_whole, ("draw", "vae"), f"{NOTES}/vae_whole.json"),
    "base": Stage(run_base, ("draw", "vae_whole", "words"), "model_index.json"),
    "controlnet": Stage(run_controlnet, ("draw", "base"), "controlnet/diffusion_pytorch_model.safetensors"),
    "turbo": Stage(run_turbo, ("draw", "base"), PRODUCT),
    "clip": Stage(run_clip, ("draw",), "clip/preprocessor_config.json"),
    "classifier": Stage(run_classifier, ("draw", "vae_whole"), "classifier/model.safetensors"),
}
