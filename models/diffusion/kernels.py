"""Triton kernels for the operations between the matrix products of SDXL's blocks, on an NVIDIA GPU.

PyTorch runs each normalisation, activation, bias and residual separately, and converts pictures from channels-last to
channels-first and back around every group norm. On an H100 that is 93 of 202 ms of a UNet step of ten pictures (1024
pixels, fp16). Each kernel here reads its input once (group norm: twice) and writes its output once, channels-last. It
computes in fp32 and rounds where PyTorch rounds, so results differ by rounding only.

Each docstring gives the equivalent PyTorch code. Tensors must be on a GPU and of one dtype.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from models.diffusion import programs

CHANNELS, PIXELS = 64, 64
"""Tile of one program of the group norm."""
COLUMNS = 1024
"""Elements that one program of an elementwise kernel handles."""


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
    """Return the launch settings of a program that handles a whole row."""
    return {"COLUMNS": triton.next_power_of_2(width), "num_warps": 4 if width <= 1024 else 8}


def as_argument(shift: Tensor | None, x: Tensor) -> tuple[Tensor, int]:
    """Return a group norm's shift as a kernel argument, and its stride from picture to picture (0: same for all)."""
    if shift is None:  # the argument must be a tensor; the programs do not read it
        return x, 0
    return shift.contiguous(), x.shape[1] if shift.dim() == 2 else 0


def group_norm_with_moments(
    x: Tensor, norm: torch.nn.GroupNorm, *, silu: bool = False, shift: Tensor | None = None
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """`norm(x + shift[:, :, None, None])`, then SiLU if asked for: [N, C, H, W], channels-last.

    Args:
        shift: [N, C] or [C], or None for nothing.

    Returns:
        The result; and in float32 each channel's scale and offset, [N, C] both, and each group's mean and 1 / standard
        deviation, [N, groups, 2].
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
    # First the moments of each channel and tile, then scale and offset from each group's moments, then the result.
    programs.moments[(batch, tiles, blocks)](x, given, means, squares, pixels, channels, stride, **shape)
    own = channels // norm.num_groups
    columns = triton.next_power_of_2(own)
    rows = max(1, min(triton.next_power_of_2(tiles), 2048 // columns))  # tiles that one program loads at once
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
