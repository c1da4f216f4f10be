"""An SDXL base as one .safetensors file, with the tensors named as Stability AI's generative-models names them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_OPEN_CLIP_ENDS = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def single_file(folder: Path, file: Path, *, layers: int = 1, vae: bool = True, **more: Tensor) -> Path:
    """Write the base in `folder` as one file.

    Args:
        layers: the UNet's layers a block.
        vae: whether the file holds one.
        more: further tensors, such as the marks of a base that predicts velocity.
    """
    texts = {part: load_file(folder / part / "model.safetensors") for part in ("text_encoder", "text_encoder_2")}
    first = {name.removeprefix("text_model."): value for name, value in texts["text_encoder"].items()}
    tensors = {
        **{f"model.diffusion_model.{name}": value for name, value in _unet(_weights(folder / "unet"), layers).items()},
        **{f"conditioner.embedders.0.transformer.text_model.{name}": value for name, value in first.items()},
        **{f"conditioner.embedders.1.model.{name}": value for name, value in _open_clip(texts["text_encoder_2"])},
        **more,
    }
    if vae:
        own = vae_tensors(folder / "vae")
        tensors |= {f"first_stage_model.{name}": value for name, value in own.items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, file)
    return file


def vae_tensors(folder: Path) -> Tensors:
    """The VAE under the names that it has in a file by itself."""
    return {_vae_name(name): _as_convolution(name, value) for name, value in _weights(folder).items()}


def _weights(folder: Path) -> Tensors:
    tensors: Tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    return tensors


def _unet(own: Tensors, layers: int) -> Tensors:
    rules: list[tuple[str, Callable[[re.Match[str]], str]]] = [
        (r"down_blocks\.(\d+)\.resnets\.(\d+)\.", lambda m: f"input_blocks.{_down(m, layers)}.0."),
        (r"down_blocks\.(\d+)\.attentions\.(\d+)\.", lambda m: f"input_blocks.{_down(m, layers)}.1."),
        (
            r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.",
            lambda m: f"input_blocks.{(layers + 1) * (int(m[1]) + 1)}.0.op.",
        ),
        (r"mid_block\.resnets\.(\d+)\.", lambda m: f"middle_block.{2 * int(m[1])}."),
        (r"mid_block\.attentions\.0\.", lambda m: "middle_block.1."),
        (r"up_blocks\.(\d+)\.resnets\.(\d+)\.", lambda m: f"output_blocks.{_up(m, layers)}.0."),
        (r"up_blocks\.(\d+)\.attentions\.(\d+)\.", lambda m: f"output_blocks.{_up(m, layers)}.1."),
    ]
    attending = {name.split(".")[1] for name in own if name.startswith("up_blocks") and ".attentions." in name}

    def rename(name: str) -> str:
        for old, new in _ENDS.items():
            if name.startswith(f"{old}."):
                return name.replace(old, new, 1)
        up = re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.*)", name)
        if up:
            return f"output_blocks.{(layers + 1) * int(up[1]) + layers}.{2 if up[1] in attending else 1}.conv.{up[2]}"
        for pattern, say in rules:
            found = re.match(pattern, name)
            if found:
                return say(found) + _replaced(name[found.end() :], _RESNET if "resnets" in pattern else {})
        raise AssertionError(name)

    return {rename(name): value for name, value in own.items()}


def _down(found: re.Match[str], layers: int) -> int:
    return (layers + 1) * int(found[1]) + int(found[2]) + 1


def _up(found: re.Match[str], layers: int) -> int:
    return (layers + 1) * int(found[1]) + int(found[2])


def _replaced(name: str, names: Mapping[str, str]) -> str:
    return next((name.replace(old, new, 1) for old, new in names.items() if name.startswith(f"{old}.")), name)


def _vae_name(name: str) -> str:
    rules = (
        (r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.", r"encoder.down.\1.block.\2."),
        (r"encoder\.down_blocks\.(\d+)\.downsamplers\.0\.", r"encoder.down.\1.downsample."),
        (r"mid_block\.attentions\.0\.", "mid.attn_1."),
        (r"mid_block\.resnets\.0\.", "mid.block_1."),
        (r"mid_block\.resnets\.1\.", "mid.block_2."),
        (r"conv_shortcut", "nin_shortcut"),
        (r"conv_norm_out", "norm_out"),
        (r"attn_1\.group_norm", "attn_1.norm"),
        (r"attn_1\.to_([qkv])", r"attn_1.\1"),
        (r"attn_1\.to_out\.0", "attn_1.proj_out"),
    )
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)\.", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}.", name)
    return re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{3 - int(m[1])}.upsample.", name)


def _as_convolution(name: str, value: Tensor) -> Tensor:
    """The attention's layers are 1x1 convolutions there."""
    return value[:, :, None, None] if ".attentions." in name and value.ndim == 2 else value


def _open_clip(own: Tensors) -> Iterator[tuple[str, Tensor]]:
    yield "logit_scale", torch.tensor(1.0)
    for full, value in own.items():
        name = full.removeprefix("text_model.")
        layer = re.match(r"encoder\.layers\.(\d+)\.(.*)", name)
        if name == "text_projection.weight":
            yield "text_projection", value.T
        elif layer is None:
            yield _OPEN_CLIP_ENDS[name], value
        elif "q_proj" in name:
            kind = name.rpartition(".")[2]
            together = [own[full.replace("q_proj", other)] for other in ("q_proj", "k_proj", "v_proj")]
            yield f"transformer.resblocks.{layer[1]}.attn.in_proj_{kind}", torch.cat(together)
        elif "k_proj" not in name and "v_proj" not in name:
            yield f"transformer.resblocks.{layer[1]}.{_replaced(layer[2], _OPEN_CLIP)}", value
