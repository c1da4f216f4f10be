"""The kernels of `models.diffusion.kernels` with their gradients, for training through frozen blocks.

Inputs, residuals and shifts get gradients; norms and biases are frozen and get none. The group norm's backward follows
Wu and He 2018 (https://arxiv.org/abs/1803.08494).
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor, nn
from torch.autograd import Function

from models.diffusion import backward_programs, kernels
from models.diffusion.kernels import CHANNELS, COLUMNS, PIXELS


class _Geglu(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return kernels.geglu(x)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        x, change = x.contiguous(), change.contiguous()
        out, width = torch.empty_like(x), change.shape[-1]
        grid = (change.numel() // width, triton.cdiv(width, COLUMNS))
        backward_programs.geglu_backward[grid](x, change, out, width, COLUMNS=COLUMNS)
        return out


def geglu(x: Tensor) -> Tensor:
    """See `kernels.geglu`."""
    out: Tensor = _Geglu.apply(x)  # type: ignore[no-untyped-call]
    return out


def _back_through_layer_norm(x: Tensor, change: Tensor, passed: Tensor | None, norm: nn.LayerNorm) -> Tensor:
    x, change = x.contiguous(), change.contiguous()
    passed = None if passed is None else passed.contiguous()
    out, width = torch.empty_like(x), x.shape[-1]
    backward_programs.layer_norm_backward[(x.numel() // width,)](
        x,
        change,
        x if passed is None else passed,
        norm.weight,
        out,
        width,
        norm.eps,
        ADD=passed is not None,
        **kernels.whole_row(width),
    )
    return out


class _LayerNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: nn.LayerNorm) -> Tensor:
        ctx.norm = norm
        ctx.save_for_backward(x)
        return kernels.layer_norm(x, norm)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, None]:
        return _back_through_layer_norm(ctx.saved_tensors[0], change, None, ctx.norm), None


def layer_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """See `kernels.layer_norm`."""
    out: Tensor = _LayerNorm.apply(x, norm)  # type: ignore[no-untyped-call]
    return out


class _AddLayerNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
        total, out = kernels.add_layer_norm(x, residual, norm)
        ctx.norm = norm
        ctx.save_for_backward(total)
        return total, out

    @staticmethod
    def backward(ctx: Any, passed: Tensor, change: Tensor) -> tuple[Tensor, Tensor, None]:
        slope = _back_through_layer_norm(ctx.saved_tensors[0], change, passed, ctx.norm)
        return slope, slope, None


def add_layer_norm(x: Tensor, residual: Tensor, norm: nn.LayerNorm) -> tuple[Tensor, Tensor]:
    """See `kernels.add_layer_norm`."""
    total, out = _AddLayerNorm.apply(x, residual, norm)  # type: ignore[no-untyped-call]
    return total, out


class _GroupNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: nn.GroupNorm, silu: bool, shift: Tensor | None) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        out, moments = kernels.group_norm_with_moments(x, norm, silu=silu, shift=shift)
        ctx.norm, ctx.silu = norm, silu
        ctx.save_for_backward(x, shift, *moments)
        return out

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, None, None, Tensor | None]:
        x, shift, scale, offset, means = ctx.saved_tensors
        change = change.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        pixels, groups, own = height * width, ctx.norm.num_groups, channels // ctx.norm.num_groups
        grid = (batch, triton.cdiv(pixels, PIXELS), triton.cdiv(channels, CHANNELS))
        out, (given, stride) = torch.empty_like(x), kernels.as_argument(shift, x)
        shape = {"SHIFT": shift is not None, "SILU": ctx.silu, "PIXELS": PIXELS, "CHANNELS": CHANNELS}
        # Two sums per group give the part of the gradient that flows through mean and deviation.
        sums = x.new_empty((batch, grid[1], groups, own, 2), dtype=torch.float32)
        about = (x, given, change, scale, offset, means, ctx.norm.weight)
        size = (pixels, channels, stride, own, groups)
        backward_programs.slope_sums[grid](*about, sums, *size, **shape)
        totals = sums.sum(dim=(1, 3)) / (pixels * own)
        backward_programs.slope_out[grid](*about, totals, out, *size, **shape)
        to_shift = None
        if ctx.needs_input_grad[3]:
            to_shift = out.sum(dim=(2, 3)) if shift.dim() == 2 else out.sum(dim=(0, 2, 3))
        return out, None, None, to_shift


def group_norm(x: Tensor, norm: nn.GroupNorm, *, silu: bool = False, shift: Tensor | None = None) -> Tensor:
    """See `kernels.group_norm_with_moments`."""
    out: Tensor = _GroupNorm.apply(x, norm, silu, shift)  # type: ignore[no-untyped-call]
    return out


class _AddBias(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
        return kernels.add_bias(x, bias, residual)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, None, Tensor]:
        return change, None, change


def add_bias(x: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
    """See `kernels.add_bias`."""
    out: Tensor = _AddBias.apply(x, bias, residual)  # type: ignore[no-untyped-call]
    return out
