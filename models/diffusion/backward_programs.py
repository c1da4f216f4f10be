"""Triton programs for gradients on the GPU. `differentiable` starts them.

Arguments in capitals are compile-time constants: switches, and the tile sizes of one program.
"""

import triton
import triton.language as tl


@triton.jit
def geglu_backward(x, change, out, width, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    value = tl.load(x + row * 2 * width + column, mask=inside).to(tl.float32)
    gate = tl.load(x + row * 2 * width + width + column, mask=inside).to(tl.float32)
    given = tl.load(change + row * width + column, mask=inside).to(tl.float32)
    normal = 0.5 * (1.0 + tl.erf(gate * 0.7071067811865476))  # distribution function of the normal distribution
    density = 0.3989422804014327 * tl.exp(-0.5 * gate * gate)  # gelu'(gate) = normal + gate * density
    kind = out.dtype.element_ty
    tl.store(out + row * 2 * width + column, (given * gate * normal).to(kind), mask=inside)
    slope = given * value * (normal + gate * density)
    tl.store(out + row * 2 * width + width + column, slope.to(kind), mask=inside)


@triton.jit
def layer_norm_backward(x, change, passed, weight, out, width, eps, ADD: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, COLUMNS)
    inside = column < width
    value = tl.load(x + row + column, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(value, axis=0) / width
    centred = tl.where(inside, value - mean, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, axis=0) / width + eps)
    normed = centred * scale
    given = tl.load(change + row + column, mask=inside, other=0.0).to(tl.float32)
    given = given * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    slope = given - tl.sum(given, axis=0) / width - normed * (tl.sum(given * normed, axis=0) / width)
    slope = slope * scale
    if ADD:  # the gradient of the sum, which is also passed on
        slope += tl.load(passed + row + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row + column, slope.to(out.dtype.element_ty), mask=inside)


@triton.jit
def tile_slope(
    x,
    shift,
    change,
    scale,
    offset,
    means,
    place,
    picture,
    channel,
    inside,
    own,
    channels,
    shift_stride,
    width,
    groups,
    SHIFT: tl.constexpr,
    SILU: tl.constexpr,
):
    """For one tile: gradient of the norm's output before SiLU, normalised value, and 1 / deviation of each channel."""
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    if SHIFT:
        value += tl.load(shift + picture * shift_stride + channel, mask=own, other=0.0).to(tl.float32)[None, :]
        value = value.to(x.dtype.element_ty).to(tl.float32)
    given = tl.load(change + place, mask=inside, other=0.0).to(tl.float32)
    row = picture * channels + channel
    if SILU:
        z = (
            value * tl.load(scale + row, mask=own, other=0.0)[None, :]
            + tl.load(offset + row, mask=own, other=0.0)[None, :]
        )
        share = 1.0 / (1.0 + tl.exp(-z))
        given = given * share * (1.0 + z * (1.0 - share))  # derivative of SiLU
    group = (picture * groups + channel // width) * 2
    mean, factor = tl.load(means + group, mask=own, other=0.0), tl.load(means + group + 1, mask=own, other=0.0)
    normed = tl.where(inside, (value - mean[None, :]) * factor[None, :], 0.0)
    return given, normed, factor


@triton.jit
def slope_sums(
    x,
    shift,
    change,
    scale,
    offset,
    means,
    weight,
    sums,
    pixels,
    channels,
    shift_stride,
    width,
    groups,
    SHIFT: tl.constexpr,
    SILU: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """For each channel of one tile: sum of the weighted gradient, and of its product with the normalised value."""
    picture, tile = tl.program_id(0).to(tl.int64), tl.program_id(1)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    pixel, own = tile * PIXELS + tl.arange(0, PIXELS), channel < channels
    inside = (pixel < pixels)[:, None] & own[None, :]
    place = (picture * pixels + pixel[:, None]) * channels + channel[None, :]
    given, normed, _ = tile_slope(
        x,
        shift,
        change,
        scale,
        offset,
        means,
        place,
        picture,
        channel,
        inside,
        own,
        channels,
        shift_stride,
        width,
        groups,
        SHIFT,
        SILU,
    )
    gain = tl.load(weight + channel, mask=own, other=0.0).to(tl.float32)
    row = ((picture * tl.num_programs(1) + tile) * channels + channel) * 2
    tl.store(sums + row, tl.sum(given, axis=0) * gain, mask=own)
    tl.store(sums + row + 1, tl.sum(given * normed, axis=0) * gain, mask=own)


@triton.jit
def slope_out(
    x,
    shift,
    change,
    scale,
    offset,
    means,
    weight,
    totals,
    out,
    pixels,
    channels,
    shift_stride,
    width,
    groups,
    SHIFT: tl.constexpr,
    SILU: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    picture = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    pixel, own = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS), channel < channels
    inside = (pixel < pixels)[:, None] & own[None, :]
    place = (picture * pixels + pixel[:, None]) * channels + channel[None, :]
    given, normed, factor = tile_slope(
        x,
        shift,
        change,
        scale,
        offset,
        means,
        place,
        picture,
        channel,
        inside,
        own,
        channels,
        shift_stride,
        width,
        groups,
        SHIFT,
        SILU,
    )
    group = (picture * groups + channel // width) * 2
    first, second = tl.load(totals + group, mask=own, other=0.0), tl.load(totals + group + 1, mask=own, other=0.0)
    gain = tl.load(weight + channel, mask=own, other=0.0).to(tl.float32)
    slope = (given * gain[None, :] - first[None, :] - normed * second[None, :]) * factor[None, :]
    tl.store(out + place, slope.to(out.dtype.element_ty), mask=inside)
