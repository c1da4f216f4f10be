"""Triton programs on the GPU. `kernels` starts them; its docstrings say what they compute.

Arguments in capitals are compile-time constants: switches, and the tile sizes of one program.
"""

import triton
import triton.language as tl


@triton.jit
def geglu(x, out, width, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    value = tl.load(x + row * 2 * width + column, mask=inside).to(tl.float32)
    gate = tl.load(x + row * 2 * width + width + column, mask=inside).to(tl.float32)
    gate = 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476))
    gate = gate.to(out.dtype.element_ty).to(tl.float32)  # PyTorch rounds here too
    tl.store(out + row * width + column, (value * gate).to(out.dtype.element_ty), mask=inside)


@triton.jit
def add_layer_norm(x, residual, weight, bias, total, out, width, eps, ADD: tl.constexpr, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, COLUMNS)
    inside = column < width
    value = tl.load(x + row + column, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        value += tl.load(residual + row + column, mask=inside, other=0.0).to(tl.float32)
        rounded = value.to(total.dtype.element_ty)  # PyTorch normalises the rounded sum
        tl.store(total + row + column, rounded, mask=inside)
        value = rounded.to(tl.float32)
    mean = tl.sum(value, axis=0) / width
    centred = tl.where(inside, value - mean, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, axis=0) / width + eps)
    gain = tl.load(weight + column, mask=inside).to(tl.float32)
    shift = tl.load(bias + column, mask=inside).to(tl.float32)
    tl.store(out + row + column, (centred * scale * gain + shift).to(out.dtype.element_ty), mask=inside)


@triton.jit
def moments(
    x,
    shift,
    means,
    squares,
    pixels,
    channels,
    shift_stride,
    SHIFT: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """For each channel of one tile: the mean, and the sum of squared distances from it."""
    picture, tile = tl.program_id(0).to(tl.int64), tl.program_id(1)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    pixel = tile * PIXELS + tl.arange(0, PIXELS)
    inside = (pixel < pixels)[:, None] & (channel < channels)[None, :]
    place = (picture * pixels + pixel[:, None]) * channels + channel[None, :]
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    if SHIFT:
        value += tl.load(shift + picture * shift_stride + channel, mask=channel < channels, other=0.0).to(tl.float32)[
            None, :
        ]
        value = tl.where(inside, value.to(x.dtype.element_ty).to(tl.float32), 0.0)
    count = tl.minimum(PIXELS, pixels - tile * PIXELS)
    mean = tl.sum(value, axis=0) / count
    distance = tl.where(inside, value - mean[None, :], 0.0)
    row = (picture * tl.num_programs(1) + tile) * channels + channel
    tl.store(means + row, mean, mask=channel < channels)
    tl.store(squares + row, tl.sum(distance * distance, axis=0), mask=channel < channels)


@triton.jit
def scales(
    means,
    squares,
    weight,
    bias,
    scale,
    offset,
    moments,
    pixels,
    channels,
    tiles,
    width,
    eps,
    PIXELS: tl.constexpr,
    TILES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """For one group: combine its tiles' moments (Chan et al. 1983) into scale and offset of each channel."""
    picture, group = tl.program_id(0), tl.program_id(1)
    inner = tl.arange(0, WIDTH)
    channel = group * width + inner
    total = tl.zeros((TILES, WIDTH), dtype=tl.float32)
    for start in range(0, tiles, TILES):
        tile = start + tl.arange(0, TILES)
        inside = (tile < tiles)[:, None] & (inner < width)[None, :]
        row = (picture * tiles + tile[:, None]) * channels + channel[None, :]
        count = tl.minimum(PIXELS, pixels - tile * PIXELS).to(tl.float32)[:, None]
        total += tl.load(means + row, mask=inside, other=0.0) * tl.where(inside, count, 0.0)  # the tile's sum
    number = pixels * width
    mean = tl.sum(tl.sum(total, axis=1), axis=0) / number
    spread = tl.zeros((TILES, WIDTH), dtype=tl.float32)  # squared distances within tiles, plus those of tiles' means
    for start in range(0, tiles, TILES):
        tile = start + tl.arange(0, TILES)
        inside = (tile < tiles)[:, None] & (inner < width)[None, :]
        row = (picture * tiles + tile[:, None]) * channels + channel[None, :]
        count = tl.minimum(PIXELS, pixels - tile * PIXELS).to(tl.float32)[:, None]
        distance = tl.load(means + row, mask=inside, other=0.0) - mean
        spread += tl.load(squares + row, mask=inside, other=0.0) + tl.where(inside, count * distance * distance, 0.0)
    factor = tl.rsqrt(tl.sum(tl.sum(spread, axis=1), axis=0) / number + eps)
    place = moments + (picture * tl.num_programs(1) + group) * 2
    tl.store(place, mean)
    tl.store(place + 1, factor)
    own = inner < width
    gain = tl.load(weight + channel, mask=own).to(tl.float32) * factor
    tl.store(scale + picture * channels + channel, gain, mask=own)
    tl.store(
        offset + picture * channels + channel, tl.load(bias + channel, mask=own).to(tl.float32) - mean * gain, mask=own
    )


@triton.jit
def apply(
    x,
    shift,
    scale,
    offset,
    out,
    pixels,
    channels,
    shift_stride,
    SHIFT: tl.constexpr,
    SILU: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    picture = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    pixel = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    own = channel < channels
    inside = (pixel < pixels)[:, None] & own[None, :]
    place = (picture * pixels + pixel[:, None]) * channels + channel[None, :]
    value = tl.load(x + place, mask=inside).to(tl.float32)
    if SHIFT:
        value += tl.load(shift + picture * shift_stride + channel, mask=own).to(tl.float32)[None, :]
        value = value.to(x.dtype.element_ty).to(tl.float32)
    gain = tl.load(scale + picture * channels + channel, mask=own)
    value = value * gain[None, :] + tl.load(offset + picture * channels + channel, mask=own)[None, :]
    if SILU:
        value = value.to(out.dtype.element_ty).to(tl.float32)
        value = value / (1.0 + tl.exp(-value))
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def add_bias(x, bias, residual, out, number, channels, COLUMNS: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    inside = place < number
    value = tl.load(x + place, mask=inside).to(tl.float32)
    value += tl.load(bias + place % channels, mask=inside).to(tl.float32)
    value += tl.load(residual + place, mask=inside).to(tl.float32)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)
