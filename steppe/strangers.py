"""Strangers: people in robes of any hue, with bolder patterns than those of the world's own people.

The world's robes have eight colours. A VAE trained only on these would turn every other colour into the nearest of
them, and a base would paint no other, so a LoRA could not teach a character in new colours. Drawings of strangers teach
both models all colours, and teach the small CLIP to recognise a person by their clothes. Their captions name the
nearest of some more colours, so that words also cover hues between the eight. No stranger wears Aldar's diamonds.
"""

from __future__ import annotations

import colorsys
import random
from collections.abc import Callable
from dataclasses import replace

from steppe.people import PATTERNS, ROBE_COLOURS, Cloth, Robe, hem_band, spots, stripes, zigzag
from steppe.things import Colour, Pen
from steppe.world import HATS, Person, Scene, random_person, random_scene

SCENES_EACH = 4
"""Consecutive drawings of one stranger, each in another scene."""
ROBE_SCENES = 2 * SCENES_EACH
"""Consecutive drawings of one robe, which two strangers wear."""
_APART = 150
"""Least difference of a robe's cloth and its trimmings, as a sum over red, green and blue."""


def bold_stripes(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """Two broad stripes down the robe."""
    for left, right in ((-0.75, -0.3), (0.3, 0.75)):
        corners = ((left, 0.22), (right, 0.22), (right, 1.0), (left, 1.0))
        pen.shape(cloth.patch(corners), trim, smooth=False, outline=False)


def checks(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """A chessboard of large squares."""
    for row, low in enumerate((0.2, 0.58, 0.78)):
        for left in (-1.0, 0.0) if row % 2 else (-0.5, 0.5):
            corners = ((left, low), (left + 0.5, low), (left + 0.5, low + 0.2), (left, low + 0.2))
            pen.shape(cloth.patch(corners), trim, smooth=False, outline=False)


def half(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """One side of the robe in the other colour."""
    pen.shape(cloth.patch(((0.12, 0.1), (1.0, 0.1), (1.0, 1.0), (0.12, 1.0))), trim, smooth=False, outline=False)


def wedges(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """Tall triangles that rise from the hem, and one that hangs from the neck."""
    for middle in (-0.6, 0.6):
        pen.shape(cloth.patch(((middle - 0.36, 1.0), (middle, 0.62), (middle + 0.36, 1.0))), trim, smooth=False,
                  outline=False)  # fmt: skip
    pen.shape(cloth.patch(((-0.6, 0.12), (0.6, 0.12), (0.0, 0.45))), trim, smooth=False, outline=False)


def lozenge(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """One large diamond from side to side."""
    pen.shape(cloth.patch(((0.0, 0.3), (0.8, 0.62), (0.0, 0.94), (-0.8, 0.62))), trim, smooth=False, outline=False)


def chevrons(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """Two broad arrows that point down."""
    for low in (0.36, 0.74):
        corners = ((-1.0, low - 0.14), (0.0, low), (1.0, low - 0.14), (1.0, low), (0.0, low + 0.16), (-1.0, low))
        pen.shape(cloth.patch(corners), trim, smooth=False, outline=False)


def plain(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """Nothing but a band along the hem."""
    hem_band(pen, cloth, trim)


BOLD = (bold_stripes, checks, half, wedges, lozenge, chevrons, plain)
PATTERN_WORDS: dict[Callable[[Pen, Cloth, Colour], None], str] = {
    bold_stripes: "broad stripes",
    checks: "squares",
    half: "on one side",
    wedges: "triangles",
    lozenge: "diamond",
    chevrons: "arrows",
    plain: "hem",
    hem_band: "hem",
    stripes: "stripes",
    spots: "dots",
    zigzag: "zigzag",
}
SHADES: dict[str, Colour] = {
    "pink": (244, 150, 190),
    "crimson": (150, 20, 50),
    "rust": (180, 84, 40),
    "gold": (206, 164, 40),
    "olive": (120, 120, 40),
    "lime": (150, 214, 50),
    "mint": (160, 230, 190),
    "turquoise": (40, 190, 185),
    "teal": (20, 110, 115),
    "sky blue": (120, 190, 245),
    "navy": (30, 40, 100),
    "indigo": (70, 50, 160),
    "lilac": (190, 150, 230),
    "magenta": (210, 40, 150),
    "cream": (240, 225, 190),
    "grey": (150, 150, 150),
    "black": (60, 55, 65),
}
"""Colours that the world's own robes do not have. A stranger's robe gets the nearest one's name."""
PATTERN_TOLD = 0.5
"""Share of the captions of a stranger's robe that name its pattern."""


def name_of(colour: Colour, names: dict[str, Colour]) -> str:
    """Return the name of the nearest colour."""
    return min(names, key=lambda name: sum((a - b) ** 2 for a, b in zip(names[name], colour, strict=True)))


def wording(costume: int, rng: random.Random) -> str:
    """Return words for the robe with this number."""
    robe = robe_of(costume)
    words = f"{name_of(robe.colour, SHADES)} {rng.choice(('robe', 'coat', 'gown'))}"
    if rng.random() >= PATTERN_TOLD:
        return words
    return f"{words} with {name_of(robe.trim, SHADES | ROBE_COLOURS)} {PATTERN_WORDS[robe.pattern]}"


def any_colour(rng: random.Random) -> Colour:
    """Return a random colour of any hue, from pale to deep; one in eight is grey."""
    saturation = rng.uniform(0.0, 0.15) if rng.random() < 0.125 else rng.uniform(0.45, 0.95)
    red, green, blue = (
        round(255 * part) for part in colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(0.35, 1.0))
    )
    return (red, green, blue)


def colour_beside(other: Colour, rng: random.Random) -> Colour:
    """Return a random colour that differs clearly from `other`."""
    while True:
        colour = any_colour(rng)
        if sum(abs(a - b) for a, b in zip(colour, other, strict=True)) >= _APART:
            return colour


def robe_of(costume: int) -> Robe:
    """Return the robe with this number, always the same."""
    rng = random.Random(f"costume {costume}")
    colour = any_colour(rng)
    trim = colour_beside(colour, rng)
    pattern = rng.choice(BOLD if rng.random() < 0.6 else PATTERNS)
    return Robe(colour=colour, trim=trim, sash=colour_beside(colour, rng), pattern=pattern)


def stranger(number: int) -> Person:
    """Return the stranger with this number. Two strangers, 2 n and 2 n + 1, wear the same robe, but other hats: so the
    small CLIP learns that a robe alone is no person.
    """
    pair, second = divmod(number, 2)
    person = random_person(random.Random(f"stranger {number}"))
    if second:
        first = stranger(number - 1)
        person = replace(person, hat=random.Random(f"hat {number}").choice([hat for hat in HATS if hat != first.hat]))
    return replace(person, costume=pair)


def stranger_scene(row: int, rng: random.Random) -> Scene:
    """Return a random scene led by this row's stranger; half of the companions are strangers too."""
    scene = random_scene(rng)
    others = tuple(
        replace(person, costume=rng.randrange(10**9)) if rng.random() < 0.5 else person for person in scene.people[1:]
    )
    return replace(scene, people=(stranger(row // SCENES_EACH), *others))
