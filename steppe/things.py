"""The pen for all drawing, the light of each time of day, and the things people wear, carry and trade."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL import ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]

INK: Colour = (44, 30, 40)
WHITE: Colour = (250, 247, 240)
GOLD: Colour = (248, 196, 60)
STEPS = 5
_BROAD = 16.0
"""Pixels of a line whose notches show also in round outlines."""


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return `first` with `share` (0 to 1) of `second` mixed in."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def shade(colour: Colour, amount: float) -> Colour:
    """Return `colour` lighter (amount above 0) or darker (below 0)."""
    return mix(colour, (255, 252, 240), amount) if amount > 0 else mix(colour, (40, 16, 40), -amount)


@dataclass(frozen=True, kw_only=True)
class Light:
    """A time of day: the sky's colours from top to horizon, and how strongly `tint` colours land and people.

    People get less of it than the land, so that their robes stay distinguishable at night.
    """

    sky: tuple[Colour, ...]
    tint: Colour
    land: float
    people: float


LIGHTS = {
    "day": Light(sky=((86, 178, 236), (150, 212, 246), (226, 242, 246)), tint=(255, 250, 225), land=0.0, people=0.0),
    "sunset": Light(sky=((122, 84, 158), (240, 122, 92), (255, 204, 120)), tint=(236, 112, 64), land=0.36, people=0.1),
    "night": Light(sky=((22, 30, 88), (38, 58, 136), (84, 104, 186)), tint=(40, 62, 186), land=0.52, people=0.12),
}


def _weights() -> tuple[tuple[float, float, float, float], ...]:
    """Return Catmull-Rom weights of four neighbouring points, for each step between the middle two."""
    rows = []
    for step in range(STEPS):
        t = step / STEPS
        rows.append(
            (-t * (1 - t) ** 2 / 2, (2 - 5 * t**2 + 3 * t**3) / 2, t * (1 + 4 * t - 3 * t**2) / 2, t**2 * (t - 1) / 2)
        )
    return tuple(rows)


WEIGHTS = _weights()


def curve(points: Sequence[Point], closed: bool) -> list[Point]:
    """Return a smooth line (Catmull-Rom) through all `points`."""
    size = len(points)
    dots: list[Point] = []
    for i in range(size if closed else size - 1):
        if closed:
            a, b, c, d = points[i - 1], points[i], points[(i + 1) % size], points[(i + 2) % size]
        else:
            a, b, c, d = points[max(i - 1, 0)], points[i], points[i + 1], points[min(i + 2, size - 1)]
        dots += [
            (p * a[0] + q * b[0] + r * c[0] + s * d[0], p * a[1] + q * b[1] + r * c[1] + s * d[1])
            for p, q, r, s in WEIGHTS
        ]
    return dots if closed else [*dots, points[-1]]


@dataclass(frozen=True, kw_only=True)
class Pen:
    """Draws in its owner's own frame: x grows the way the owner faces, y upwards; `unit` pixels to the length 1.

    `turn` leans the whole frame forward, in degrees. `line` is the outline's width in pixels. The pen tints every
    colour by the light (`tint`, `share`), so that no other code depends on the time of day.
    """

    canvas: ImageDraw.ImageDraw
    x: float
    y: float
    unit: float
    line: float
    facing: int = 1
    turn: float = 0.0
    tint: Colour = (0, 0, 0)
    share: float = 0.0

    def spot(self, point: Point) -> Point:
        """Return the pixel of a point of this frame."""
        ahead, up = point
        if self.turn:
            cos, sin = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
            ahead, up = ahead * cos + up * sin, up * cos - ahead * sin
        return (self.x + self.facing * self.unit * ahead, self.y - self.unit * up)

    def local(self, pixel: Point) -> Point:
        """Return the point of this frame at a pixel: the inverse of `spot`."""
        ahead, up = (pixel[0] - self.x) / (self.facing * self.unit), (self.y - pixel[1]) / self.unit
        cos, sin = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
        return (ahead * cos - up * sin, up * cos + ahead * sin)

    def at(self, point: Point, scale: float = 1.0, turn: float = 0.0) -> Pen:
        """Return the pen in a smaller or larger frame with its origin at `point`."""
        x, y = self.spot(point)
        return replace(self, x=x, y=y, unit=self.unit * scale, turn=self.turn + turn)

    def colour(self, colour: Colour) -> Colour:
        """Return `colour` in this light."""
        return mix(colour, self.tint, self.share) if self.share else colour

    def shape(self, points: Sequence[Point], fill: Colour, *, smooth: bool = True, outline: bool = True) -> None:
        """A filled outline through `points`: round, or with straight edges where not `smooth`."""
        dots = [self.spot(p) for p in (curve(points, closed=True) if smooth else points)]
        self.canvas.polygon(dots, fill=self.colour(fill))
        if outline:
            self._rim(dots, sharp=not smooth)

    def outline(self, points: Sequence[Point]) -> None:
        """The outline alone, drawn again over what was put onto a shape."""
        self._rim([self.spot(p) for p in points], sharp=True)

    def _rim(self, dots: Sequence[Point], sharp: bool) -> None:
        self.canvas.line([*dots, *dots[:1]], fill=self.colour(INK), width=round(self.line))
        if sharp or self.line > _BROAD:  # broad lines leave notches at corners
            self.dots(dots, self.line / 2, self.colour(INK))

    def dots(self, pixels: Sequence[Point], radius: float, fill: Colour) -> None:
        """Discs at pixels, to round off the joints of broad lines."""
        for x, y in pixels:
            self.canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def oval(self, centre: Point, radii: Point, fill: Colour, *, outline: bool = True) -> None:
        """An ellipse with its axes along the frame's."""
        if self.turn and radii[0] != radii[1]:
            ring = [(math.cos(a * math.pi / 5) * radii[0], math.sin(a * math.pi / 5) * radii[1]) for a in range(10)]
            self.shape([(centre[0] + x, centre[1] + y) for x, y in ring], fill, outline=outline)
            return
        x, y = self.spot(centre)
        for grow, colour in ((0.5, INK), (-0.5, fill)) if outline else ((0.0, fill),):
            wide, high = (max(radius * self.unit + grow * self.line, 1.0) for radius in radii)
            self.canvas.ellipse((x - wide, y - high, x + wide, y + high), fill=self.colour(colour))

    def stroke(self, points: Sequence[Point], width: float, colour: Colour, *, smooth: bool = True) -> None:
        """An open line without outline, `width` in frame units but never thinner than an outline."""
        broad = max(width * self.unit, self.line)
        self._thread([self.spot(p) for p in (curve(points, closed=False) if smooth else points)], broad, colour)

    def limb(self, points: Sequence[Point], width: float, fill: Colour) -> None:
        """A round-ended, outlined tube along straight `points`."""
        dots = [self.spot(p) for p in points]
        self._thread(dots, width * self.unit + self.line, INK)
        self._thread(dots, max(width * self.unit - self.line, 2.0), fill)

    def _thread(self, dots: Sequence[Point], broad: float, colour: Colour) -> None:
        self.canvas.line(dots, fill=self.colour(colour), width=round(broad))
        self.dots(dots if len(dots) < 6 else (dots[0], dots[-1]), broad / 2 - 0.5, self.colour(colour))


def fur_hat(pen: Pen) -> None:
    """A pointed dark red dome over a thick ring of brown fur. All hats: the head is the unit circle."""
    pen.shape([(-0.9, 0.6), (-0.66, 1.3), (0, 1.85), (0.66, 1.3), (0.9, 0.6)], (150, 40, 62))
    fur: Colour = (134, 90, 58)
    ring = [(-1.2, 0.46), (-1.16, 0.88), (-0.8, 0.78), (-0.4, 1.02), (0, 0.88), (0.4, 1.02), (0.8, 0.78), (1.16, 0.88),
            (1.2, 0.46), (0.8, 0.3), (0.4, 0.44), (0, 0.3), (-0.4, 0.44), (-0.8, 0.3)]  # fmt: skip
    pen.shape(ring, fur)
    for x in (-0.7, 0.0, 0.7):
        pen.stroke([(x - 0.1, 0.56), (x + 0.06, 0.74)], 0.11, shade(fur, 0.3))


def turban(pen: Pen) -> None:
    """A broad pink turban of wrapped cloth with a golden jewel."""
    pink: Colour = (236, 116, 150)
    pen.shape(
        [(-1.1, 0.3), (-1.34, 0.85), (-0.8, 1.4), (0, 1.56), (0.8, 1.4), (1.34, 0.85), (1.1, 0.3), (0, 0.5)], pink
    )
    for ends in (((-1.2, 0.95), (-0.3, 0.95), (0.5, 0.5)), ((-0.75, 1.32), (0.1, 1.2), (0.95, 0.62))):
        pen.stroke(ends, 0.1, shade(pink, -0.35))
    pen.oval((0.3, 0.92), (0.2, 0.24), GOLD)


def skullcap(pen: Pen) -> None:
    """A small, close green cap with a cream zigzag."""
    green: Colour = (22, 124, 96)
    pen.shape([(-0.92, 0.36), (-0.9, 0.85), (-0.5, 1.16), (0.5, 1.16), (0.9, 0.85), (0.92, 0.36), (0, 0.5)], green)
    pen.stroke([(-0.66, 0.66), (-0.33, 0.92), (0, 0.68), (0.33, 0.92), (0.66, 0.66)], 0.14, WHITE, smooth=False)


def straw_hat(pen: Pen) -> None:
    """A wide yellow brim under a pointed crown with a red band."""
    straw: Colour = (246, 212, 110)
    pen.shape([(-1.75, 0.42), (-0.9, 0.36), (0, 0.3), (0.9, 0.36), (1.75, 0.42), (0.95, 0.78), (-0.95, 0.78)], straw)
    pen.shape([(-0.85, 0.68), (-0.3, 1.62), (0.3, 1.62), (0.85, 0.68)], straw, smooth=False)
    pen.shape([(-0.86, 0.62), (-0.7, 0.98), (0.7, 0.98), (0.86, 0.62)], (190, 70, 50), smooth=False)


def crown(pen: Pen) -> None:
    """A golden crown of three points with gems."""
    spikes = [(-0.95, 0.4), (-1.12, 1.42), (-0.52, 0.98), (0, 1.6), (0.52, 0.98), (1.12, 1.42), (0.95, 0.4)]
    pen.shape(spikes, (252, 204, 56), smooth=False)
    for x, gem in ((-0.55, (60, 120, 220)), (0.0, (216, 40, 60)), (0.55, (60, 120, 220))):
        pen.oval((x, 0.66), (0.16, 0.16), gem, outline=False)


HATS: dict[str, Callable[[Pen], None]] = {
    "fur hat": fur_hat,
    "turban": turban,
    "skullcap": skullcap,
    "straw hat": straw_hat,
    "crown": crown,
}


def table(pen: Pen) -> None:
    """A low table under a bright cloth; its top is at the origin."""
    for x in (-0.17, 0.17):
        pen.limb([(x, -0.02), (x, -0.2)], 0.06, (130, 84, 56))
    pen.shape([(-0.24, 0.04), (-0.28, -0.1), (0.28, -0.1), (0.24, 0.04)], (60, 176, 180), smooth=False)
    pen.shape([(-0.27, -0.07), (-0.28, -0.1), (0.28, -0.1), (0.27, -0.07)], GOLD, smooth=False, outline=False)


def sack(pen: Pen) -> None:
    """An open sack brim-full of gold coins. All props: one unit wide, standing on y = 0."""
    cloth: Colour = (214, 178, 128)
    for x, y in ((-0.2, 0.66), (0.2, 0.66), (0, 0.76)):
        pen.oval((x, y), (0.17, 0.15), GOLD)
    pen.shape([(-0.34, 0.62), (-0.5, 0.22), (-0.36, 0), (0.36, 0), (0.5, 0.22), (0.34, 0.62), (0, 0.54)], cloth)
    pen.oval((0, 0.27), (0.18, 0.18), GOLD)
    pen.oval((-0.58, 0.07), (0.12, 0.08), GOLD)


def carpet(pen: Pen) -> None:
    """A red rug with a golden border, a blue medallion and fringes, spread towards us."""
    for edge in (0.03, 0.47):
        reach = 0.66 if edge < 0.2 else 0.52
        for step in range(7):
            x = (step / 3 - 1) * reach
            pen.stroke([(x, edge), (x * 1.04, edge + (-0.07 if edge < 0.2 else 0.07))], 0.06, WHITE, smooth=False)
    pen.shape([(-0.7, 0.02), (-0.54, 0.48), (0.54, 0.48), (0.7, 0.02)], GOLD, smooth=False)
    pen.shape([(-0.55, 0.09), (-0.45, 0.41), (0.45, 0.41), (0.55, 0.09)], (196, 36, 52), smooth=False, outline=False)
    pen.shape([(-0.32, 0.25), (0, 0.4), (0.32, 0.25), (0, 0.1)], (44, 84, 170), smooth=False, outline=False)
    pen.oval((0, 0.25), (0.1, 0.06), WHITE, outline=False)


def cauldron(pen: Pen) -> None:
    """A round black iron pot with two ears, full of soup."""
    iron: Colour = (74, 76, 92)
    for x in (-0.28, 0.28):
        pen.limb([(x, 0.14), (x * 1.25, 0.03)], 0.1, iron)
    for x in (-0.5, 0.5):
        pen.oval((x, 0.5), (0.13, 0.12), iron)
    pen.shape([(-0.46, 0.6), (-0.52, 0.34), (-0.3, 0.08), (0.3, 0.08), (0.52, 0.34), (0.46, 0.6)], iron)
    pen.stroke([(-0.36, 0.42), (-0.34, 0.28), (-0.22, 0.18)], 0.08, shade(iron, 0.45))
    pen.oval((0, 0.6), (0.5, 0.14), shade(iron, -0.3))
    pen.oval((0, 0.6), (0.38, 0.08), (240, 150, 50), outline=False)


def torn_coat(pen: Pen) -> None:
    """An old grey-blue coat with spread sleeves, a ragged hem, big dark holes and one patch."""
    cloth: Colour = (126, 148, 160)
    left = [(-0.16, 0.78), (-0.62, 0.62), (-0.72, 0.36), (-0.5, 0.3), (-0.34, 0.46), (-0.4, 0.06)]
    rags = [(-0.27, 0.13), (-0.14, 0.0), (0, 0.12), (0.14, 0.0), (0.27, 0.13)]
    pen.shape([*left, *rags, *((-x, y) for x, y in reversed(left))], cloth, smooth=False)
    for hole, size in (((-0.2, 0.52), 0.1), ((0.2, 0.34), 0.12), ((-0.16, 0.24), 0.08), ((0.54, 0.48), 0.08)):
        pen.oval(hole, (size, size * 0.9), INK, outline=False)
    pen.shape([(0.08, 0.5), (0.08, 0.68), (0.27, 0.68), (0.27, 0.5)], (240, 170, 70), smooth=False)


def bread(pen: Pen) -> None:
    """Two round golden flat loaves, one leaning on the other, with a baker's pattern of dots."""
    for x, y, wide, high in ((0.0, 0.16, 0.52, 0.17), (0.0, 0.34, 0.5, 0.24)):
        pen.oval((x, y), (wide, high), (228, 158, 72))
    pen.oval((0, 0.36), (0.32, 0.13), (250, 204, 128), outline=False)
    for x, y in ((0, 0.36), (-0.18, 0.36), (0.18, 0.36)):
        pen.oval((x, y), (0.055, 0.045), (166, 94, 40), outline=False)


PROPS: dict[str, Callable[[Pen], None]] = {
    "sack of gold": sack,
    "carpet": carpet,
    "cauldron": cauldron,
    "coat full of holes": torn_coat,
    "bread": bread,
}
