"""Skies and places behind the people, in the units of `steppe.stage`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from PIL import Image

from steppe.place_view import View
from steppe.things import LIGHTS, WHITE, Colour, Pen, Point, shade


@cache
def sky(time: str, width: int, height: int) -> Image.Image:
    """Return a gradient sky, which callers must copy."""
    colours = LIGHTS[time].sky
    column = Image.new("RGB", (1, len(colours)))
    column.putdata(colours)
    upper = column.resize((1, round(height * 0.6)), Image.Resampling.BILINEAR)
    image = Image.new("RGB", (1, height), colours[-1])
    image.paste(upper, (0, 0))
    return image.resize((width, height))


def star(pen: Pen, x: float, y: float, size: float) -> None:
    """A four-pointed star."""
    ring = [(x + math.sin(k * math.pi / 4) * size * (1 if k % 2 == 0 else 0.36),
             y + math.cos(k * math.pi / 4) * size * (1 if k % 2 == 0 else 0.36)) for k in range(8)]  # fmt: skip
    pen.shape(ring, (255, 240, 180), smooth=False, outline=False)


def cloud(pen: Pen, x: float, y: float, size: float, colour: Colour) -> None:
    """A flat-bottomed cloud of three puffs."""
    for dx, dy, radius in ((-0.1, 0.0, 0.05), (0.0, 0.03, 0.075), (0.1, 0.005, 0.055)):
        pen.oval((x + dx * size, y + dy * size), (radius * size * 1.3, radius * size), colour, outline=False)


def lights_in_the_sky(pen: Pen, view: View) -> None:
    """Sun and clouds by day, a low red sun at sunset, one moon and a few stars at night."""
    rng = view.rng
    x, y = view.across(rng.choice((0.12, 0.5, 0.88)) + view.jitter(0.04)), view.above(0.87 + view.jitter(0.03))
    if view.time == "day":
        pen.oval((x, y), (0.075, 0.075), (255, 240, 170), outline=False)
        pen.oval((x, y), (0.055, 0.055), (255, 216, 74), outline=False)
    elif view.time == "sunset":
        y = view.horizon + 0.22 + view.jitter(0.04)
        pen.oval((x, y), (0.15, 0.15), (255, 176, 92), outline=False)
        pen.oval((x, y), (0.105, 0.105), (255, 228, 120), outline=False)
    else:
        pen.oval((x, y), (0.092, 0.092), (92, 112, 190), outline=False)
        pen.oval((x, y), (0.066, 0.066), (255, 246, 206), outline=False)
        for k in range(6):
            spot = view.across((k + 0.5) / 6 + view.jitter(0.04))
            if abs(spot - x) > 0.13:
                star(pen, spot, view.above(0.9 + view.jitter(0.06) - 0.12 * (k % 2)), 0.03)
        return
    white = (255, 255, 255) if view.time == "day" else (255, 190, 150)
    for side in (view.across(0.28), view.across(0.72)):
        if abs(side - x) > 0.3:
            cloud(pen, side + view.jitter(0.1), view.above(0.85 + view.jitter(0.06)), rng.uniform(0.9, 1.3), white)


def hill(pen: Pen, base: float, height: float, colour: Colour, view: View) -> None:
    """A rolling ridge across the picture, filled down to the ground."""
    ridge = [(view.across(x / 4), base + height * view.rng.uniform(0.2, 1.0)) for x in range(-1, 6)]
    low = view.bottom - 0.1
    ends = [(view.across(x), y) for x, y in ((-0.4, low), (-0.5, base), (1.5, base), (1.4, low))]
    pen.shape([*ends[:2], *ridge, *ends[2:]], colour)


def ground(pen: Pen, view: View, colour: Colour) -> None:
    """The flat ground, a lighter band along its far edge."""
    h, low = view.horizon, view.bottom
    far = ((-0.1, low - 0.1), (-0.1, h), (0.25, h + 0.012), (0.6, h - 0.01), (1.1, h + 0.01), (1.1, low - 0.1))
    near = ((0, h - 0.05), (0.3, h - 0.07), (0.7, h - 0.04), (1.1, h - 0.06), (1.1, low - 0.2), (-0.1, low - 0.2))
    pen.shape([(view.across(x), y) for x, y in far], colour)
    pen.shape([(view.across(x), y) for x, y in near], shade(colour, -0.08), outline=False)


def tufts(pen: Pen, view: View, colour: Colour, count: int) -> None:
    """Bold tufts of grass, some with a flower."""
    for k in range(count):
        x = view.across((k + 0.5) / count + view.jitter(0.07))
        y = view.below(view.rng.uniform(0.04, view.horizon - 0.09))
        for lean in (-0.022, 0.0, 0.022):
            pen.stroke([(x, y), (x + lean, y + 0.045 * view.zoom)], 0.013, colour, smooth=False)
        if view.rng.random() < 0.4:
            pen.oval((x, y + 0.05 * view.zoom), (0.016, 0.016), view.rng.choice(((250, 110, 130), (255, 240, 150))),
                     outline=False)  # fmt: skip


def steppe(pen: Pen, view: View) -> Colour:
    """Open grassland: long golden-green hills and tufts of feather grass."""
    grass: Colour = (170, 200, 84)
    hill(pen, view.horizon + 0.02, 0.1 * view.zoom, (134, 184, 108), view)
    hill(pen, view.horizon - 0.02, 0.07 * view.zoom, (190, 206, 96), view)
    ground(pen, view, grass)
    tufts(pen, view, (112, 152, 58), 8)
    return grass


def mountains(pen: Pen, view: View) -> Colour:
    """High blue peaks with snow caps, and firs at their feet."""
    rock: Colour = (118, 134, 172)
    h, peaks = view.horizon - 0.02, ((0.1, 0.27), (0.9, 0.31), (0.48, 0.37))
    for k, (middle, high) in enumerate(peaks):
        x, wide = view.across(middle + view.jitter(0.05)), 0.36
        top = h + high * (0.75 + view.zoom * 0.25) + view.jitter(0.02)
        colour = shade(rock, -0.12 if k < 2 else 0.0)
        pen.shape([(x - wide, h), (x, top), (x + wide, h)], colour, smooth=False)
        drop = (top - h) * 0.36
        edge = wide * 0.36
        pen.shape([(x - edge, top - drop), (x, top), (x + edge, top - drop), (x + edge * 0.4, top - drop * 0.75),
                   (x, top - drop * 1.15), (x - edge * 0.4, top - drop * 0.75)], WHITE, smooth=False)  # fmt: skip
    grass: Colour = (132, 178, 112)
    ground(pen, view, grass)
    for k in range(5):
        x, size = view.across((k + 0.5) / 5 + view.jitter(0.06)), 0.13 * view.zoom * view.rng.uniform(0.8, 1.1)
        y = h + view.jitter(0.02)
        for step in (0.0, 0.4):
            wide = size * (0.36 - step * 0.2)
            pen.shape([(x - wide, y + size * step), (x, y + size * (step + 0.75)), (x + wide, y + size * step)],
                      (44, 112, 88), smooth=False)  # fmt: skip
    return grass


def river(pen: Pen, view: View) -> Colour:
    """A broad blue band of water between green banks, with waves and reeds."""
    grass: Colour = (150, 196, 96)
    h, water = view.horizon, (54, 148, 226)
    hill(pen, h + 0.04, 0.12 * view.zoom, (112, 172, 110), view)
    ground(pen, view, (172, 206, 112))
    deep = h - 0.24
    wet = replace(pen, share=pen.share * 0.5)  # water keeps its blue in the evening
    banks = ((-0.2, h - 0.02), (0.3, h - 0.045), (0.7, h - 0.02), (1.2, h - 0.05),
             (1.2, deep + 0.03), (0.6, deep), (0.3, deep + 0.03), (-0.2, deep))  # fmt: skip
    wet.shape([(view.across(x), y) for x, y in banks], water)
    for k in range(7):
        x = view.across((k + 0.5) / 7 + view.jitter(0.05))
        y = view.rng.uniform(deep + 0.06, h - 0.08)
        wet.stroke([(x - 0.06, y), (x - 0.02, y + 0.015), (x + 0.02, y), (x + 0.06, y + 0.012)], 0.014, (186, 228, 250))
    for x in (view.across(0.05), view.across(0.95)):
        for apart in (-0.035, 0.0, 0.035):
            foot, tip = (x + apart, deep - 0.02), (x + apart * 1.6, deep + 0.16 * view.zoom + view.jitter(0.03))
            pen.stroke([foot, tip], 0.015, (66, 126, 60), smooth=False)
            pen.oval(tip, (0.015, 0.034), (134, 84, 48), outline=False)
    tufts(pen, replace(view, horizon=max(deep, 0.12)), (92, 146, 62), 4)
    return grass


def yurt(pen: Pen) -> None:
    """A white felt yurt one unit wide: domed roof with a crown, red bands, a blue door."""
    felt: Colour = (250, 244, 230)
    pen.shape([(-0.48, 0), (-0.48, 0.34), (0.48, 0.34), (0.48, 0)], felt, smooth=False)
    pen.shape([(-0.55, 0.32), (-0.36, 0.56), (-0.12, 0.72), (0.12, 0.72), (0.36, 0.56), (0.55, 0.32)], felt,
              smooth=False)  # fmt: skip
    pen.shape([(-0.14, 0.7), (-0.1, 0.78), (0.1, 0.78), (0.14, 0.7)], (190, 60, 56), smooth=False)
    pen.shape([(-0.5, 0.22), (-0.5, 0.31), (0.5, 0.31), (0.5, 0.22)], (210, 62, 60), smooth=False, outline=False)
    for side in (-1, 1):
        pen.stroke([(side * 0.38, 0.36), (side * 0.11, 0.68)], 0.05, (210, 62, 60), smooth=False)
    pen.shape([(-0.13, 0), (-0.13, 0.3), (0.13, 0.3), (0.13, 0)], (60, 116, 176), smooth=False)


def yurts(pen: Pen, view: View) -> Colour:
    """A village of white yurts on a green meadow."""
    grass: Colour = (146, 196, 98)
    hill(pen, view.horizon + 0.02, 0.12 * view.zoom, (120, 178, 116), view)
    ground(pen, view, grass)
    for x, down, size in ((0.5, -0.01, 0.27), (0.13, 0.035, 0.36), (0.87, 0.03, 0.38)):
        yurt(
            pen.at(
                (view.across(x + view.jitter(0.03)), view.horizon - down),
                size * view.zoom * view.rng.uniform(0.92, 1.08),
            )
        )
    tufts(pen, view, (98, 154, 66), 4)
    return grass


def stall(pen: Pen, colour: Colour, goods: Colour) -> None:
    """A market stall one unit wide with a striped, scalloped awning and a heap of fruit."""
    for x in (-0.42, 0.42):
        pen.limb([(x, 0), (x, 0.75)], 0.05, (150, 100, 64))
    pen.shape([(-0.4, 0.3), (-0.4, 0.72), (0.4, 0.72), (0.4, 0.3)], (120, 84, 82), smooth=False, outline=False)
    for x in (-0.27, -0.09, 0.09, 0.27):
        pen.oval((x, 0.36), (0.1, 0.1), goods)
    pen.shape([(-0.48, 0), (-0.48, 0.3), (0.48, 0.3), (0.48, 0)], (184, 128, 78), smooth=False)
    for k in range(5):
        left, right = -0.55 + k * 0.22, -0.33 + k * 0.22
        paint = WHITE if k % 2 else colour
        pen.oval(((left + right) / 2, 0.68), (0.11, 0.075), paint)
        pen.shape([(left * 0.8, 0.98), (right * 0.8, 0.98), (right, 0.68), (left, 0.68)], paint, smooth=False)


def bazaar(pen: Pen, view: View) -> Colour:
    """A market square: clay walls with domes, and stalls under striped awnings."""
    sand: Colour = (234, 206, 150)
    h, clay = view.horizon, (226, 182, 132)
    for x, wide in ((0.3 + view.jitter(0.1), 0.11), (0.78 + view.jitter(0.08), 0.13)):
        pen.oval((view.across(x), h + 0.28), (wide, wide * 1.15), (70, 170, 178))
    left, right = view.across(-0.1), view.across(1.1)
    pen.shape([(left, h - 0.02), (left, h + 0.27), (right, h + 0.27), (right, h - 0.02)], clay, smooth=False)
    ground(pen, view, sand)
    awnings = [((222, 66, 60), (250, 200, 60)), ((52, 128, 204), (240, 120, 50)), ((60, 158, 98), (216, 60, 80))]
    view.rng.shuffle(awnings)
    size = 0.36 * view.zoom
    for k, (colour, goods) in enumerate(awnings):
        spot = (0.5 + (k - 1) * max(size * 1.05, 0.34 * view.wide) + view.jitter(0.02), h - 0.07 + 0.02 * (k == 1))
        stall(pen.at(spot, size), colour, goods)
    return sand


def opening(pen: Pen, ring: list[Point], view: View) -> None:
    """A piece of sky, seen through roof or door."""
    skies = LIGHTS[view.time].sky
    pen.shape(ring, skies[1 if view.time != "night" else 0], smooth=False)


INDOORS: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((246, 218, 168), (204, 66, 54), (176, 74, 66)),
    ((96, 78, 146), (206, 84, 100), (112, 44, 92)),
)
"""Colours of felt, lattice and floor, by day and at night. Firelight is violet, not blue."""


def inside(pen: Pen, view: View) -> Colour:
    """A yurt from within: red lattice, roof ring and doorway open to the sky, felts, a hearth."""
    raw = replace(pen, share=0.0)
    felt, red, floor = INDOORS[view.time == "night"]
    if view.time == "night":
        pen = replace(pen, share=0.1)
    h = view.horizon - 0.03
    eaves, ring_y = h + 0.3, view.above(0.95)
    left, right, low, poles = view.across(-0.1), view.across(1.1), view.bottom - 0.1, round(4 * max(view.wide, 1.0))
    pen.shape([(left, low), (left, view.top + 0.1), (right, view.top + 0.1), (right, low)], felt, smooth=False,
              outline=False)  # fmt: skip
    for k in range(-poles, poles + 1):
        pen.stroke([(0.5 + k * 0.17, eaves), (0.5 + k * 0.05, ring_y)], 0.018, red, smooth=False)
    circle = [(0.5 + math.cos(a * math.pi / 8) * 0.23, ring_y + math.sin(a * math.pi / 8) * 0.08) for a in range(16)]
    opening(raw, circle, view)
    if view.time == "night":
        raw.oval((0.5, ring_y), (0.05, 0.05), (255, 246, 206), outline=False)
    for x in (0.4, 0.6):
        pen.stroke([(x, ring_y - 0.07), (x, ring_y + 0.07)], 0.016, red, smooth=False)
    pen.shape([(left, eaves - 0.015), (left, eaves + 0.035), (right, eaves + 0.035), (right, eaves - 0.015)],
              (150, 40, 52), smooth=False)  # fmt: skip
    for k in range(-3, 10):
        for lean in (-0.16, 0.16):
            pen.stroke([(k * 0.16 - lean, h), (k * 0.16 + lean, eaves)], 0.016, red, smooth=False)
    mirrored = view.rng.choice((0.16, 0.84))
    side = view.across(mirrored)
    door = [(side - 0.11, h - 0.02), (side - 0.11, eaves - 0.04), (side + 0.11, eaves - 0.04), (side + 0.11, h - 0.02)]
    opening(raw, door, view)
    pen.shape([door[0], (side - 0.11, h + 0.07), (side + 0.11, h + 0.06), door[3]], (140, 184, 92), smooth=False)
    pen.shape([(left, low), (left, h), (right, h), (right, low)], floor, smooth=False)
    for wide, colour in ((0.62, (238, 186, 96)), (0.54, (56, 110, 150))):
        pen.oval((0.5, h - 0.25), (wide, wide * 0.34), colour, outline=wide > 0.6)
    hearth(raw.at((view.across(1 - mirrored + view.jitter(0.04)), h - 0.06), 0.2 * view.zoom))
    return floor if view.horizon < 0.3 else (90, 96, 116)


def hearth(pen: Pen) -> None:
    """A small open fire on stones, one unit wide."""
    pen.shape([(-0.3, 0.1), (-0.24, 0.5), (0, 0.95), (0.22, 0.55), (0.3, 0.1)], (250, 122, 36))
    pen.shape([(-0.16, 0.1), (0, 0.58), (0.16, 0.1)], (255, 222, 90), outline=False)
    for x in (-0.36, -0.12, 0.12, 0.36):
        pen.oval((x, 0.06), (0.15, 0.12), (128, 124, 136))


PLACES: dict[str, Callable[[Pen, View], Colour]] = {
    "bazaar": bazaar,
    "yurts": yurts,
    "steppe": steppe,
    "mountains": mountains,
    "river": river,
    "inside a yurt": inside,
}


def backdrop(pen: Pen, place: str, view: View) -> Colour:
    """Draw everything behind the people, and return the ground's colour, for shadows."""
    if place != "inside a yurt":
        lights_in_the_sky(replace(pen, share=0.0), view)
    return PLACES[place](pen, view)
