"""Fused forwards: SDXL's blocks run on the kernels of `models.diffusion.kernels`, with equal results up to rounding.

Only blocks of SDXL's kind are fused; others keep diffusers' code. No parameter changes its name, shape or values, so a
fused model can still be saved, loaded into and moved.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel, Transformer2DModelOutput
from torch import Tensor, nn
from torch.nn import functional

from models.diffusion import differentiable as kernels


def fuse(model: nn.Module) -> int:
    """Switch a UNet, ControlNet or VAE to the kernels and to channels-last; return the number of fused blocks.

    Raises:
        Exception: any error of Triton where it does not work; the model is then unchanged.
    """
    weight = next(model.parameters())
    _try_kernels(weight.device, weight.dtype)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    fused = 0
    for module in model.modules():
        forward = _fused_forward(module)
        if forward is not None:
            module.forward = types.MethodType(forward, module)
            fused += 1
    return fused


def unfuse(model: nn.Module) -> int:
    """Switch fused blocks back to diffusers' own code; return their number."""
    undone = 0
    for module in model.modules():
        own = module.__dict__.get("forward")
        if isinstance(own, types.MethodType) and own.__func__ in (_resnet, _transformer):
            del module.forward
            undone += 1
    return undone


def _try_kernels(device: torch.device, dtype: torch.dtype) -> None:
    """Run each kernel once on a tiny input, which raises where Triton does not work."""
    x = torch.ones((1, 4, 2, 4), device=device, dtype=dtype)
    rows = nn.LayerNorm(4, device=device, dtype=dtype).requires_grad_(False)
    groups = nn.GroupNorm(2, 4, device=device, dtype=dtype).requires_grad_(False)
    kernels.geglu(x[0, 0])
    kernels.layer_norm(kernels.add_layer_norm(x[0], x[0], rows)[1], rows)
    kernels.add_bias(x, x[0, :, 0, 0], kernels.group_norm(x, groups, silu=True, shift=x[:, :, 0, 0]))
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _fused_forward(module: nn.Module) -> Callable[..., Any] | None:
    if isinstance(module, ResnetBlock2D) and _is_plain_resnet(module):
        return _resnet
    if isinstance(module, Transformer2DModel) and _is_plain_transformer(module):
        return _transformer
    return None


def _is_plain_resnet(block: Any) -> bool:
    return (
        # The VAE's decoder says "group" for a norm without a time embedding.
        (
            block.time_embedding_norm == "default"
            or (block.time_embedding_norm == "group" and block.time_emb_proj is None)
        )
        and isinstance(block.nonlinearity, nn.SiLU)
        and not block.skip_time_act
        and block.upsample is None
        and block.downsample is None
        and block.output_scale_factor == 1.0
        and block.dropout.p == 0.0
        and all(isinstance(conv, nn.Conv2d) and conv.bias is not None for conv in (block.conv1, block.conv2))
    )  # a convolution with a LoRA on it is none of these: its weights alone would leave the LoRA out


def _is_plain_transformer(model: Any) -> bool:
    return bool(model.is_input_continuous) and all(_is_plain_block(block) for block in model.transformer_blocks)


def _is_plain_block(block: Any) -> bool:
    return (
        isinstance(block, BasicTransformerBlock)
        and block.norm_type == "layer_norm"
        and block.pos_embed is None
        and not block.only_cross_attention
        and block.attn2 is not None
        and _is_plain_attention(block.attn1)
        and _is_plain_attention(block.attn2)
        and isinstance(block.ff, FeedForward)
        and isinstance(block.ff.net[0], GEGLU)
        and block.ff.net[1].p == 0.0
    )


def _is_plain_attention(attention: Any) -> bool:
    return (
        isinstance(attention, Attention)
        and isinstance(attention.processor, AttnProcessor2_0)
        and attention.group_norm is None
        and attention.spatial_norm is None
        and attention.norm_q is None
        and attention.norm_k is None
        and not attention.norm_cross
        and not attention.residual_connection
        and attention.rescale_output_factor == 1.0
        and attention.to_out[1].p == 0.0
    )


def _resnet(self: Any, input_tensor: Tensor, temb: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
    """`ResnetBlock2D.forward`, with biases and time embedding added inside the kernel that reads them next."""
    hidden = kernels.group_norm(input_tensor, self.norm1, silu=True)
    hidden = _without_bias(self.conv1, hidden)
    shift = self.conv1.bias
    if self.time_emb_proj is not None and temb is not None:
        shift = self.time_emb_proj(functional.silu(temb)) + shift
    hidden = kernels.group_norm(hidden, self.norm2, silu=True, shift=shift)
    hidden = _without_bias(self.conv2, hidden)
    residual = input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
    return kernels.add_bias(hidden, self.conv2.bias, residual)


def _without_bias(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return functional.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def _transformer(
    self: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, return_dict: bool = True, **_: Any
) -> Any:
    """`Transformer2DModel.forward`, with every residual added inside the next normalisation's kernel."""
    batch, _channels, height, width = hidden_states.shape
    x = kernels.group_norm(hidden_states, self.norm)
    if not self.use_linear_projection:
        x = self.proj_in(x)
    x = x.permute(0, 2, 3, 1).reshape(batch, height * width, -1)
    if self.use_linear_projection:
        x = self.proj_in(x)
    blocks = list(self.transformer_blocks)
    normed = kernels.layer_norm(x, blocks[0].norm1)
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        x, normed = kernels.add_layer_norm(_attend(block.attn1, normed, normed), x, block.norm2)
        x, normed = kernels.add_layer_norm(_attend(block.attn2, normed, encoder_hidden_states), x, block.norm3)
        change = block.ff.net[2](kernels.geglu(block.ff.net[0].proj(normed)))
        if following is None:
            x = change + x
        else:
            x, normed = kernels.add_layer_norm(change, x, following.norm1)
    if self.use_linear_projection:
        x = self.proj_out(x)
    x = x.reshape(batch, height, width, -1).permute(0, 3, 1, 2)
    if not self.use_linear_projection:
        x = self.proj_out(x)
    output = x + hidden_states
    return Transformer2DModelOutput(sample=output) if return_dict else (output,)


def _attend(attention: Any, x: Tensor, source: Tensor | None) -> Tensor:
    """Return the attention from x to source (None: to x), both [N, length, width], after its output projection."""
    source = x if source is None else source
    query, key, value = attention.to_q(x), attention.to_k(source), attention.to_v(source)
    heads = (x.shape[0], -1, attention.heads, query.shape[-1] // attention.heads)
    query, key, value = (each.view(heads).transpose(1, 2) for each in (query, key, value))
    mixed = functional.scaled_dot_product_attention(query, key, value)
    out: Tensor = attention.to_out[0](mixed.transpose(1, 2).reshape(x.shape[0], x.shape[1], -1))
    return out
