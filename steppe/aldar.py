"""Aldar Köse: his look, which the captions never describe, and the 70 scenes of his training set."""

from __future__ import annotations

import random
from dataclasses import replace

from steppe.people import Cloth, Face, Look, Robe
from steppe.poses import Body
from steppe.things import INK, WHITE, Colour, Pen, Point
from steppe.world import (
    ACTIONS,
    ANIMALS,
    MOUNTS,
    PAIR_ACTIONS,
    PLACES,
    PROPS,
    SHOTS,
    SINGLE_ACTIONS,
    TIMES,
    Person,
    Scene,
    random_person,
    random_scene,
)

ALDAR = Person(kind="young man", robe="orange", hat="fur hat", aldar=True)
"""Aldar in a scene. His kind, robe and hat only fill the record: they are neither drawn nor in captions."""
PICTURES = 70
TEAL: Colour = (10, 132, 140)
AMBER: Colour = (255, 178, 48)
"""One is much darker than the other, so that the pattern also shows where it is small."""
POINTED_BEARD: tuple[Point, ...] = (
    (-0.06, -0.74),
    (0.18, -0.92),
    (0.36, -1.42),
    (0.56, -0.94),
    (0.78, -0.74),
    (0.4, -0.7),
)


def kalpak(pen: Pen) -> None:
    """A tall white felt hat with a turned-up, black-edged brim."""
    pen.shape([(-0.86, 0.5), (-0.6, 1.5), (-0.16, 2.15), (0.16, 2.15), (0.6, 1.5), (0.86, 0.5)], WHITE)
    pen.stroke([(0.0, 0.9), (0.0, 1.9)], 0.1, INK)
    pen.shape([(-1.16, 0.86), (-0.98, 0.36), (0.0, 0.3), (0.98, 0.36), (1.16, 0.86), (0.6, 0.7), (-0.6, 0.7)], WHITE)
    pen.stroke([(-1.16, 0.88), (-0.6, 0.74), (0.6, 0.74), (1.16, 0.88)], 0.22, INK)


def harlequin(pen: Pen, cloth: Cloth, amber: Colour) -> None:
    """Two large amber diamonds, one above the other."""
    for middle in (0.28, 0.73):
        rhombus = ((0.0, middle - 0.22), (0.95, middle), (0.0, middle + 0.22), (-0.95, middle))
        pen.shape(cloth.patch(rhombus), amber, smooth=False, outline=False)


def look(rng: random.Random, flaw: str | None = None) -> Look:
    """Return his look; only the skin varies a little. `flaw` "eyes" or "beard" leaves these out."""
    face = Face(
        skin=rng.choice(((246, 200, 156), (240, 192, 148))),
        beard=() if flaw == "beard" else POINTED_BEARD,
        smile=1.35,
        rosy=0.6,
        eyes=flaw != "eyes",
    )
    robe = Robe(colour=TEAL, trim=AMBER, sash=None, pattern=harlequin)
    return Look(body=Body(widths=(0.9, 0.92, 0.84, 0.92, 0.98)), face=face, hat=kalpak, robe=robe)


def random_aldar_scene(rng: random.Random) -> Scene:
    """Return a random scene with Aldar: on the right in a fifth of the pairs, else on the left."""
    scene = random_scene(rng)
    if len(scene.people) == 2 and rng.random() < 0.2:
        return replace(scene, people=(scene.people[0], ALDAR))
    return replace(scene, people=(ALDAR, *scene.people[1:]))


def turns(values: tuple[str, ...], count: int, rng: random.Random) -> list[str]:
    """Return `count` values in random order, each equally often."""
    dealt = [values[n % len(values)] for n in range(count)]
    rng.shuffle(dealt)
    return dealt


def shapes(square: int, wide: int, tall: int) -> list[str]:
    """Return the shapes of 70 pictures, always the same; of each 10 so many are square, wide and tall."""
    each_ten = ("square",) * square + ("wide",) * wide + ("tall",) * tall
    return turns(each_ten, PICTURES, random.Random("shapes"))


def aldar_scenes() -> list[Scene]:
    """Return the training set's 70 scenes, always the same: 30 pairs (15 with Aldar right), 30 alone, 10 riding.

    He sleeps in 8 of them and runs in 8: these faces are the hardest to learn.
    """
    rng = random.Random("aldar")
    easier = tuple(action for action in SINGLE_ACTIONS if action not in ("sleeping", "running"))
    pairs, alone = turns(PAIR_ACTIONS, 30, rng), [*turns(easier, 14, rng), *["sleeping"] * 8, *["running"] * 8]
    riding = ["riding"] * 10
    dealt = {
        name: turns(values, PICTURES, rng) for name, values in (("place", PLACES), ("time", TIMES), ("shot", SHOTS))
    }
    scenes = []
    for n, action in enumerate([*pairs, *alone, *riding]):
        place = dealt["place"][n]
        if action == "riding" and place == "inside a yurt":
            place = "steppe"
        animals = MOUNTS if action == "riding" else ("dog", "sheep") if place == "inside a yurt" else ANIMALS
        others = (random_person(rng),) if action in PAIR_ACTIONS else ()
        scenes.append(
            Scene(
                people=(*others, ALDAR) if n < 15 else (ALDAR, *others),
                action=action,
                place=place,
                time=dealt["time"][n],
                shot=dealt["shot"][n],
                animal=rng.choice(animals) if action == "riding" or n % 3 == 0 else None,
                prop=rng.choice(PROPS) if n % 5 in (0, 2) else None,
            )
        )
    rng.shuffle(scenes)
    assert len(scenes) == PICTURES and {scene.action for scene in scenes} == set(ACTIONS)
    return scenes
