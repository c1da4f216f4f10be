"""The keys of a LoRA file: which module of the base each one means, and what it says about it.

Trainers spell one module in many ways. So the base's own modules are written down in every spelling that is known, and
a key is looked up; nothing is taken apart by guess. Every key ends in a module, is told as unused, or is refused by
name: a file is never used in part.

Only names and shapes are looked at, so that a file is judged by its header, and without torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import NamedTuple

from models.errors import AdapterMismatch

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
"""Key of a state dict -> shape."""
BaseShapes = Mapping[str, Shapes]
"""Part of the base -> its weights, text encoders without `text_model.`."""

UNET, TEXT_ENCODERS = "unet", ("text_encoder", "text_encoder_2")
PARTS = (UNET, *TEXT_ENCODERS)
PEFT_ROOT = "base_model.model."
"""What PEFT's names begin with in a file."""
TEXT_MODEL = "text_model."
"""Comes and goes before the names in text encoders between releases of transformers."""

_HALF = r"(?:\.lora_(?:{k}|{p}(?:\.[^.]+)?)|\.lora\.{k}|\.lora_linear_layer\.{k}|(?<=_lora)\.{k})\.weight"
_ROLES = {
    "down": _HALF.format(k="down", p="A"),
    "up": _HALF.format(k="up", p="B"),
    "mid": r"\.lora_mid\.weight",
    "alpha": r"\.alpha",
    "dora_scale": r"\.dora_scale",
    "magnitude": r"\.lora_magnitude_vector(?:\.[^.]+){0,2}",
    **{name: rf"\.{name}" for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")},
    **{name: rf"\.{name}" for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")},
    "lokr_t2": r"\.lokr_t2",
    **{name: rf"\.{name}" for name in ("diff", "diff_b", "w_norm", "b_norm")},
}
"""What a tensor is to its module -> how its key ends. The names are those of kohya's sd-scripts, diffusers, PEFT and
LyCORIS (https://github.com/KohakuBlueleaf/LyCORIS)."""
_ENDING = re.compile("(?P<stem>.+?)(?:" + "|".join(f"(?P<{role}>{end})" for role, end in _ROLES.items()) + ")")

_OTHER_KINDS = {
    r"\.oft_|\.boft_|\.rescale$": "OFT, a rotation of weights",
    r"\.on_input$|\.ia3_": "(IA)³, which scales activations",
    r"\.[ab][12]\.weight$": "GLoRA",
    r"\.vera_": "VeRA",
    r"lora_embedding_": "a LoRA of an embedding",
    r"\.lora_(B|up)(\.[^.]+)?\.bias$": "a LoRA with a bias",
    r"^(clip_[lg]|emb_params)$": "a textual inversion, not a LoRA",
    r"^(model\.diffusion_model|first_stage_model|conditioner)\.": "a weight of a whole checkpoint, not a LoRA weight",
    r"\.(weight|bias)$": "a whole weight, not a LoRA weight",
}
"""Pattern of a key whose ending is not read -> what it is, for the message."""
_OTHER_MODELS = {
    r"lora_te_": "the text encoder of SD 1 and 2",
    r"lora_te3_|text_encoder_3\.": "the third text encoder of SD 3",
    r"lora_transformer_|transformer\.|lora_unet_(double|single|joint)_blocks|diffusion_model\.(double|single|joint)_": (
        "a transformer such as Flux or SD 3"
    ),
    r"lora_prior_": "Stable Cascade",
}
"""Beginning of a key -> whose it is, none of it SDXL's."""
_EMBEDDING = re.compile(r"bundle_emb\.(?P<trigger>.+)\.[^.]+")
"""OneTrainer keeps the embeddings trained beside a LoRA in its file: `bundle_emb.<trigger>.<encoder>`."""

_STABILITY_LAYERS = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "conv_norm_out": "out.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_STABILITY_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OLD_ATTENTION = {
    "to_q": "to_q_lora",
    "to_k": "to_k_lora",
    "to_v": "to_v_lora",
    "to_out.0": "to_out_lora",
    "q_proj": "to_q_lora",
    "k_proj": "to_k_lora",
    "v_proj": "to_v_lora",
    "out_proj": "to_out_lora",
}
"""Attention's projection -> its LoRA in the first releases of diffusers."""


class Target(NamedTuple):
    """A module of the base."""

    part: str
    module: str
    """Its name, in text encoders without `text_model.`."""


@dataclass(frozen=True)
class Sorted:
    """All keys of a file."""

    targets: Mapping[Target, Mapping[str, str]]
    """Module -> role -> key."""
    embeddings: tuple[str, ...] = field(default=())
    """Triggers of embeddings that lie in the file and are not used."""


def sort_keys(keys: list[str], base: BaseShapes, where: str, part: str | None = None) -> Sorted:
    """Every key under the module that it means.

    Args:
        keys: the file's.
        base: what the base has.
        where: the file, for messages.
        part: the one that all keys are of, where the file's place says so and its keys don't.

    Raises:
        AdapterMismatch: a key of another kind, of no module of this base, or one that repeats another.
    """
    spellings = Spellings(base, part)
    found: dict[Target, dict[str, str]] = {}
    triggers: dict[str, None] = {}
    for key in keys:
        embedding = _EMBEDDING.fullmatch(key)
        if embedding:
            triggers[embedding["trigger"]] = None
            continue
        stem, role = split_key(key, where)
        target = spellings.find(stem)
        if target is None:
            raise AdapterMismatch(f"{where}: {stem!r} is not a module of this base's {part or ', '.join(base)}")
        roles = found.setdefault(target, {})
        if role in roles:
            raise AdapterMismatch(f"{where}: {key!r} and {roles[role]!r} say the same about one module; keep one")
        roles[role] = key
    if not found:
        raise AdapterMismatch(f"{where}: it is empty, it holds no LoRA weight; train or fetch it again")
    return Sorted(found, tuple(triggers))


def split_key(key: str, where: str) -> tuple[str, str]:
    """A key as (module in the file's spelling, role).

    Raises:
        AdapterMismatch: it is no weight of a kind that is read here, or of another model; says of which.
    """
    other = next((model for pattern, model in _OTHER_MODELS.items() if re.match(pattern, key)), None)
    if other:
        raise AdapterMismatch(f"{where}: {key!r} belongs to {other}, to no part of SDXL; choose a LoRA for SDXL")
    match = _ENDING.fullmatch(key)
    if match is None:
        kind = next((kind for pattern, kind in _OTHER_KINDS.items() if re.search(pattern, key)), None)
        raise AdapterMismatch(f"{where}: {key!r} is {kind or 'not a LoRA weight'} that can be read here")
    role = next(role for role, end in match.groupdict().items() if role != "stem" and end is not None)
    return match["stem"], role


class Spellings:
    """The base's modules by every name that trainers give them."""

    def __init__(self, base: BaseShapes, part: str | None = None) -> None:
        self._targets: dict[str, Target] = {}
        for name, shapes in base.items():
            if part in (None, name):
                for module, spelt in _spellings(name, modules_of(shapes), bare=name in (part, UNET)):
                    self._targets.setdefault(spelt, Target(name, module))

    def find(self, stem: str) -> Target | None:
        """The module of that name. What torch.compile and PEFT put before names is not part of them."""
        plain = stem.removeprefix(PEFT_ROOT).replace("_orig_mod.", "").replace("_orig_mod_", "")
        return self._targets.get(plain)


def modules_of(shapes: Shapes) -> list[str]:
    """Names of the modules that have weights."""
    return list(dict.fromkeys(key.rpartition(".")[0] for key in shapes if key.endswith((".weight", ".bias"))))


def _spellings(part: str, modules: list[str], *, bare: bool) -> Iterator[tuple[str, str]]:
    """(module, its name in files) in all spellings; without a part's prefix where `bare`."""
    if part == UNET:
        stability = _stability_names(modules)
        dotted, flat = ["unet.", "diffusion_model.", "model.diffusion_model."], ["lora_unet_", "lycoris_"]
    else:
        stability = {module: TEXT_MODEL + module for module in modules}
        letter, number = ("l", "1") if part == TEXT_ENCODERS[0] else ("g", "2")
        dotted, flat = [f"{part}.", f"text_encoders.clip_{letter}.transformer."], [f"lora_te{number}_"]
    for module in modules:
        for name in dict.fromkeys((module, stability.get(module, module))):
            for prefix in (*dotted, *([""] if bare else [])):
                yield module, prefix + name
                yield from ((module, prefix + old) for old in _old_names(name))
            yield from ((module, prefix + name.replace(".", "_")) for prefix in flat)


def _old_names(name: str) -> Iterator[str]:
    """`…attn1.to_q` as `…attn1.processor.to_q_lora`, and without the processor in text encoders."""
    for projection, old in _OLD_ATTENTION.items():
        if name.endswith(f".{projection}"):
            attention = name.removesuffix(projection)
            yield f"{attention}processor.{old}"
            yield attention + old


def _stability_names(modules: list[str]) -> dict[str, str]:
    """The UNet's modules by the numbers of Stability's own code, which count layers through all blocks."""
    blocks = dict(_stability_blocks(set(modules)))
    names = {module: _STABILITY_LAYERS[module] for module in modules if module in _STABILITY_LAYERS}
    for module in modules:
        match = re.match(r"((?:down_blocks|up_blocks)\.\d+|mid_block)\.(\w+)\.\d+", module)
        if match and match[0] in blocks:
            rest = module.removeprefix(match[0]).removeprefix(".")
            inside = {"resnets": _STABILITY_RESNET.get(rest, rest), "downsamplers": "op"}.get(match[2], rest)
            names[module] = f"{blocks[match[0]]}.{inside}"
    return names


def _stability_blocks(modules: set[str]) -> Iterator[tuple[str, str]]:
    """(`down_blocks.0.resnets.1`, `input_blocks.2.0`) and so on."""

    def there(name: str) -> bool:
        return any(module.startswith(f"{name}.") for module in modules)

    def lengths(name: str) -> int:
        return len(list(takewhile(lambda index: there(f"{name}.{index}"), count())))

    def layers(here: str, blocks: str, first: int) -> Iterator[tuple[str, str]]:
        for layer in range(lengths(f"{here}.resnets")):
            yield f"{here}.resnets.{layer}", f"{blocks}.{first + layer}.0"
            yield f"{here}.attentions.{layer}", f"{blocks}.{first + layer}.1"

    number = 1
    for block in range(lengths("down_blocks")):
        here = f"down_blocks.{block}"
        yield from layers(here, "input_blocks", number)
        number += lengths(f"{here}.resnets")
        if there(f"{here}.downsamplers"):
            yield f"{here}.downsamplers.0", f"input_blocks.{number}.0"
            number += 1
    for layer in range(lengths("mid_block.resnets")):
        yield f"mid_block.resnets.{layer}", f"middle_block.{2 * layer}"
        yield f"mid_block.attentions.{layer}", f"middle_block.{2 * layer + 1}"
    number = 0
    for block in range(lengths("up_blocks")):
        here = f"up_blocks.{block}"
        yield from layers(here, "output_blocks", number)
        number += lengths(f"{here}.resnets")
        yield f"{here}.upsamplers.0", f"output_blocks.{number - 1}.{1 + there(f'{here}.attentions')}"
