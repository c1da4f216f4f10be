"""Animals: big and simple, each with one unmistakable feature. Feet stand on y = 0, the head is at x > 0."""

from __future__ import annotations

from collections.abc import Callable

from steppe.things import GOLD, INK, WHITE, Colour, Pen, Point, shade


def draw_legs(pen: Pen, feet: tuple[float, ...], top: float, width: float, colours: tuple[Colour, Colour]) -> None:
    """Straight legs in pairs, the farther ones darker, with hooves of the second colour."""
    coat, hoof = colours
    for place, x in enumerate(feet):
        pen.limb([(x * 0.9, top), (x, 0.03)], width, shade(coat, -0.2) if place % 2 else coat)
        pen.limb([(x, 0.04), (x + 0.03, 0.03)], width, hoof)


def draw_eye(pen: Pen, eye: Point, size: float = 0.024) -> None:
    """A round dark eye."""
    pen.oval(eye, (size, size * 1.2), INK, outline=False)


def draw_ears(pen: Pen, roots: tuple[Point, ...], tip: Point, width: float, coat: Colour) -> None:
    """Pointed ears from `roots`, each reaching `tip` further."""
    for x, y in roots:
        pen.shape([(x - width, y), (x + tip[0], y + tip[1]), (x + width, y)], coat)


def horse(pen: Pen) -> None:
    """Chestnut, with a black mane and tail and a white blaze."""
    coat: Colour = (178, 98, 48)
    black: Colour = (62, 42, 46)
    pen.shape([(-0.38, 0.6), (-0.53, 0.56), (-0.6, 0.3), (-0.54, 0.14), (-0.48, 0.34), (-0.44, 0.46)], black)
    draw_legs(pen, (-0.3, -0.2, 0.27, 0.18), 0.42, 0.1, (coat, black))
    pen.shape([(-0.44, 0.5), (-0.34, 0.64), (0, 0.59), (0.26, 0.66), (0.38, 0.5), (0.26, 0.33), (-0.3, 0.32)], coat)
    pen.shape([(0.14, 0.62), (0.28, 0.86), (0.42, 0.99), (0.5, 0.86), (0.42, 0.62), (0.3, 0.42)], coat)
    pen.shape([(0.08, 0.6), (0.16, 0.84), (0.34, 1.06), (0.46, 1.02), (0.34, 0.86), (0.26, 0.6)], black)
    draw_ears(pen, ((0.4, 0.98),), (-0.01, 0.16), 0.05, coat)
    pen.shape([(0.34, 0.98), (0.48, 1.0), (0.7, 0.8), (0.72, 0.7), (0.62, 0.66), (0.44, 0.76)], coat)
    pen.stroke([(0.52, 0.95), (0.66, 0.8)], 0.04, WHITE)
    pen.oval((0.67, 0.73), (0.02, 0.02), INK, outline=False)
    draw_eye(pen, (0.49, 0.88))


def donkey(pen: Pen) -> None:
    """Grey and short, with very long ears and a white muzzle."""
    coat: Colour = (146, 148, 164)
    dark: Colour = (70, 66, 82)
    pen.stroke([(-0.36, 0.5), (-0.45, 0.4), (-0.45, 0.26)], 0.05, coat)
    pen.oval((-0.45, 0.2), (0.05, 0.08), dark)
    draw_legs(pen, (-0.24, -0.14, 0.22, 0.13), 0.36, 0.09, (coat, dark))
    pen.shape([(-0.38, 0.44), (-0.3, 0.56), (0, 0.53), (0.24, 0.57), (0.33, 0.42), (0.2, 0.28), (-0.26, 0.28)], coat)
    pen.shape([(0.1, 0.54), (0.24, 0.74), (0.4, 0.74), (0.36, 0.5), (0.26, 0.4)], coat)
    pen.stroke([(0.1, 0.6), (0.2, 0.76), (0.28, 0.84)], 0.07, dark)
    draw_ears(pen, ((0.28, 0.8), (0.38, 0.82)), (-0.1, 0.3), 0.055, coat)
    pen.shape([(0.22, 0.82), (0.38, 0.88), (0.5, 0.78), (0.62, 0.66), (0.58, 0.54), (0.46, 0.54), (0.26, 0.66)], coat)
    pen.oval((0.56, 0.6), (0.105, 0.095), (246, 240, 232))
    pen.oval((0.6, 0.62), (0.02, 0.024), INK, outline=False)
    draw_eye(pen, (0.39, 0.76), 0.028)


def camel(pen: Pen) -> None:
    """Sandy, with two humps and a long curved neck."""
    coat: Colour = (232, 184, 108)
    dark = shade(coat, -0.45)
    pen.stroke([(-0.46, 0.56), (-0.56, 0.44), (-0.54, 0.3)], 0.045, dark)
    draw_legs(pen, (-0.36, -0.26, 0.27, 0.18), 0.44, 0.085, (coat, dark))
    pen.shape([(-0.48, 0.52), (-0.45, 0.72), (-0.34, 0.95), (-0.22, 0.72), (-0.08, 0.62), (0.04, 0.72), (0.14, 0.93),
               (0.25, 0.7), (0.36, 0.52), (0.24, 0.36), (-0.36, 0.36)], coat)  # fmt: skip
    for x in (-0.34, 0.14):
        pen.oval((x, 0.87), (0.06, 0.05), dark, outline=False)
    pen.shape([(0.22, 0.58), (0.36, 0.46), (0.52, 0.56), (0.58, 0.98), (0.46, 1.02), (0.42, 0.72), (0.32, 0.66)], coat)
    draw_ears(pen, ((0.46, 1.06),), (-0.05, 0.08), 0.035, coat)
    pen.shape([(0.42, 1.04), (0.52, 1.1), (0.66, 1.04), (0.76, 0.96), (0.72, 0.88), (0.56, 0.9), (0.44, 0.94)], coat)
    pen.oval((0.49, 1.1), (0.07, 0.05), dark, outline=False)
    pen.stroke([(0.74, 0.92), (0.64, 0.93)], 0.02, dark)
    draw_eye(pen, (0.57, 1.02))


def sheep(pen: Pen) -> None:
    """A white cloud of wool with a black face and legs."""
    wool: Colour = (252, 250, 246)
    black: Colour = (66, 58, 70)
    draw_legs(pen, (-0.2, -0.1, 0.18, 0.09), 0.2, 0.07, (black, black))
    curls = [(-0.3, 0.34), (-0.2, 0.46), (0, 0.5), (0.2, 0.46), (0.28, 0.32), (0.14, 0.22), (-0.06, 0.2), (-0.24, 0.23)]
    for curl in curls:
        pen.oval(curl, (0.12, 0.12), wool)
    pen.oval((0, 0.35), (0.27, 0.17), wool, outline=False)
    for curl in curls:
        pen.oval(curl, (0.1, 0.1), wool, outline=False)
    pen.oval((0.2, 0.46), (0.085, 0.055), black)
    pen.shape([(0.26, 0.58), (0.4, 0.6), (0.5, 0.44), (0.46, 0.34), (0.36, 0.34), (0.26, 0.44)], black)
    pen.oval((0.31, 0.6), (0.11, 0.075), wool)
    pen.oval((0.4, 0.5), (0.034, 0.036), WHITE, outline=False)
    draw_eye(pen, (0.41, 0.5), 0.02)


def dog(pen: Pen) -> None:
    """A sitting tan shepherd dog with a white chest, hanging ears and a curled tail."""
    coat: Colour = (222, 142, 70)
    dark: Colour = (112, 66, 44)
    pen.stroke([(-0.18, 0.08), (-0.34, 0.14), (-0.36, 0.3), (-0.26, 0.34)], 0.085, INK)
    pen.stroke([(-0.18, 0.08), (-0.34, 0.14), (-0.36, 0.3), (-0.26, 0.34)], 0.05, coat)
    pen.shape([(-0.24, 0.02), (-0.22, 0.2), (-0.04, 0.42), (0.12, 0.5), (0.2, 0.3), (0.18, 0.02)], coat)
    pen.oval((-0.12, 0.13), (0.13, 0.12), coat)
    for x in (0.07, 0.17):
        pen.limb([(x, 0.26), (x, 0.03), (x + 0.04, 0.03)], 0.075, coat)
    pen.oval((0.14, 0.31), (0.065, 0.1), WHITE, outline=False)
    pen.oval((0.13, 0.56), (0.17, 0.16), coat)
    pen.oval((0.27, 0.5), (0.1, 0.075), WHITE)
    pen.oval((0.34, 0.53), (0.04, 0.034), INK, outline=False)
    pen.shape([(0.0, 0.68), (-0.1, 0.6), (-0.08, 0.42), (0.04, 0.46), (0.08, 0.64)], dark)
    pen.stroke([(0.04, 0.41), (0.14, 0.39), (0.22, 0.41)], 0.05, (214, 50, 56))
    draw_eye(pen, (0.18, 0.59), 0.03)


ANIMALS: dict[str, Callable[[Pen], None]] = {
    "horse": horse,
    "donkey": donkey,
    "sheep": sheep,
    "camel": camel,
    "dog": dog,
}
HEADS: dict[str, Point] = {
    "horse": (0.52, 0.86),
    "donkey": (0.44, 0.72),
    "sheep": (0.4, 0.48),
    "camel": (0.58, 1.0),
    "dog": (0.18, 0.54),
}
"""Position of each animal's face, for the layout of a picture."""
SADDLES: dict[str, Point] = {"horse": (-0.04, 0.6), "donkey": (-0.06, 0.54), "camel": (-0.1, 0.66)}
"""Position of a rider's seat."""


def saddle(pen: Pen, animal: str) -> None:
    """A red saddle cloth with a golden edge and a girth around the flank."""
    x, y = SADDLES[animal]
    pen.shape(
        [(x - 0.17, y + 0.02), (x + 0.17, y + 0.02), (x + 0.19, y - 0.2), (x - 0.19, y - 0.2)], GOLD, smooth=False
    )
    pen.shape([(x - 0.14, y), (x + 0.14, y), (x + 0.15, y - 0.15), (x - 0.15, y - 0.15)], (206, 48, 60), smooth=False,
              outline=False)  # fmt: skip


def reins(pen: Pen, animal: str, hand: Point) -> None:
    """A rein from the animal's mouth to a rider's hand (a pixel)."""
    x, y = HEADS[animal]
    pen.stroke([(x + 0.06, y - 0.1), pen.local(hand)], 0.02, (110, 56, 40))
