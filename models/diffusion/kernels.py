"""Triton kernels for what SDXL's blocks do between their matrix products, on an NVIDIA GPU.

PyTorch runs each normalisation, activation, bias and residual by itself, and turns pictures from channels-last to
channels-first and back around every group norm: on an H100 that is 93 of 202 ms of a UNet step of ten pictures (1024
pixels, fp16). Here each of them reads its input once (group norm: twice) and writes its output once, all of it
channels-last. Everything is computed in fp32 and rounded where PyTorch rounds, so results differ by rounding alone.

Each function says which PyTorch code it equals. Tensors must be on a GPU and of one dtype.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from models.diffusion import programs

CHANNELS, PIXELS = 64, 64
"""Of a picture, what one program of the group norm takes."""
COLUMNS = 1024
"""Of a row, or of a whole tensor, what one program of an elementwise kernel takes."""


def geglu(x: Tensor) -> Tensor:
    """`value * gelu(gate)` of `value, gate = x.chunk(2, dim=-1)`: [..., 2 * width] to [..., width]."""
    x = x.contiguous()
    width = x.shape[-1] // 2
    out = x.new_empty((*x.shape[:-1], width))
    programs.geglu[(out.numel() // width, triton.cdiv(width, COLUMNS))](x, out, width, COLUMNS=COLUMNS)
    return out


def layer_norm(x: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    """`norm(x)`, [..., width]."""
    x = x.contiguous()
    out = torch.empty_like(x)
    _run_layer_norm(x, None, norm, None, out)
    return out


def add_layer_norm(x: Tensor, residual: Tensor, norm: torch.nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """`total, norm(total)` of `total = x + residual`, both [..., width]."""
    x, residual = x.contiguous(), residual.contiguous()
    total, out = torch.empty_like(x), torch.empty_like(x)
    _run_layer_norm(x, residual, norm, total, out)
    return total, out


def _run_layer_norm(
    x: Tensor, residual: Tensor | None, norm: torch.nn.LayerNorm, total: Tensor | None, out: Tensor
) -> None:
    width = x.shape[-1]
    programs.add_layer_norm[(x.numel() // width,)](
        x,
        x if residual is None else residual,
        norm.weight,
        norm.bias,
        out if total is None else total,
        out,
        width,
        norm.eps,
        ADD=residual is not None,
        **whole_row(width),
    )


def whole_row(width: int) -> dict[str, int]:
    """How a program is started that takes a whole row."""
    return {"COLUMNS": triton.next_power_of_2(width), "num_warps": 4 if width <= 1024 else 8}


def as_argument(shift: Tensor | None, x: Tensor) -> tuple[Tensor, int]:
    """A group norm's shift as its programs take it, with the distance from one picture's to the next one's.

    Where there is none, `x` stands for it, and is not read.
    """
    if shift is None:
        return x, 0
    return shift.contiguous(), x.shape[1] if shift.dim() == 2 else 0


def group_norm_with_moments(
    x: Tensor, norm: torch.nn.GroupNorm, *, silu: bool = False, shift: Tensor | None = None
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """`norm(x + shift[:, :, None, None])`, then SiLU if asked for: [N, C, H, W], channels-last.

    Args:
        shift: [N, C] or [C], or None for nothing.

    Returns:
        The result; and float32, what each channel was multiplied with and what was added then, [N, C] both, and mean
        and reciprocal deviation of each group, [N, groups, 2].
    """
    x = x.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    pixels, out = height * width, torch.empty_like(x)
    tiles, blocks = triton.cdiv(pixels, PIXELS), triton.cdiv(channels, CHANNELS)
    means, squares = x.new_empty((2, batch, tiles, channels), dtype=torch.float32)
    scale, offset = x.new_empty((2, batch, channels), dtype=torch.float32)
    moments = x.new_empty((batch, norm.num_groups, 2), dtype=torch.float32)
    given, stride = as_argument(shift, x)
    shape = {"SHIFT": shift is not None, "PIXELS": PIXELS, "CHANNELS": CHANNELS}
    programs.moments[(batch, tiles, blocks)](x, given, means, squares, pixels, channels, stride, **shape)
    own = channels // norm.num_groups
    columns = triton.next_power_of_2(own)
    rows = max(1, min(triton.next_power_of_2(tiles), 2048 // columns))
    programs.scales[(batch, norm.num_groups)](
        means,
        squares,
        norm.weight,
        norm.bias,
        scale,
        offset,
        moments,
        pixels,
        channels,
        tiles,
        own,
        norm.eps,
        PIXELS=PIXELS,
        TILES=rows,
        WIDTH=columns,
    )
    programs.apply[(batch, tiles, blocks)](x, given, scale, offset, out, pixels, channels, stride, SILU=silu, **shape)
    return out, (scale, offset, moments)


def add_bias(x: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
    """`x + bias[:, None, None] + residual`, [N, C, H, W], channels-last."""
    x, residual = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, residual))
    out = torch.empty_like(x)
    programs.add_bias[(triton.cdiv(x.numel(), COLUMNS),)](
        x, bias, residual, out, x.numel(), x.shape[1], COLUMNS=COLUMNS
    )
    return out
