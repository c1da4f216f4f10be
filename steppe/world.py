"""The vocabulary of the steppe world, and the record of a scene: who, doing what, where, when, how near."""

from __future__ import annotations

import random
from dataclasses import dataclass

KINDS = ("young man", "old man", "woman", "boy", "merchant", "khan")
ROBES = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "white")
HATS = ("fur hat", "turban", "skullcap", "straw hat", "crown")
SINGLE_ACTIONS = ("standing", "walking", "running", "sitting", "sleeping", "waving")
PAIR_ACTIONS = ("talking", "giving", "bargaining")
ACTIONS = (*SINGLE_ACTIONS, *PAIR_ACTIONS, "riding")
PLACES = ("bazaar", "yurts", "steppe", "mountains", "river", "inside a yurt")
TIMES = ("day", "sunset", "night")
SHOTS = ("near", "middle", "far")
ANIMALS = ("horse", "donkey", "sheep", "camel", "dog")
MOUNTS = ("horse", "donkey", "camel")
PROPS = ("sack of gold", "carpet", "cauldron", "coat full of holes", "bread")
NONE = "none"

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "robe": ROBES,
    "hat": HATS,
    "action": ACTIONS,
    "place": PLACES,
    "time": TIMES,
    "shot": SHOTS,
    "animal": (NONE, *ANIMALS),
    "prop": (NONE, *PROPS),
    "kind2": (NONE, *KINDS),
    "robe2": (NONE, *ROBES),
    "hat2": (NONE, *HATS),
}
"""Every attribute and its possible values, in the order of the classifier's outputs."""


def check(attribute: str, value: str) -> None:
    """Raise a ValueError that lists the valid values if `attribute` cannot be `value`."""
    if value not in ATTRIBUTES[attribute]:
        raise ValueError(f"{attribute} {value!r} is unknown; it is one of {', '.join(ATTRIBUTES[attribute])}")


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person.

    `aldar` marks the hero, who has his own look; kind, robe and hat are then ignored. `costume` is the number of a
    stranger's robe (`steppe.strangers`), worn instead of `robe`. In drawings for the classifier only, `flaw` spoils
    Aldar's face (`steppe.flawed_faces`), and `borrows` puts his "robe" or "hat" on another person.
    """

    kind: str
    robe: str
    hat: str
    aldar: bool = False
    borrows: str | None = None
    costume: int | None = None
    flaw: str | None = None

    @property
    def nameless(self) -> frozenset[str]:
        """The attributes without a value: "kind", "robe" and "hat" for Aldar; for others, a borrowed or strange one."""
        if self.aldar:
            return frozenset(("kind", "robe", "hat"))
        return frozenset([*([self.borrows] if self.borrows else []), *(["robe"] if self.costume is not None else [])])

    def __post_init__(self) -> None:
        check("kind", self.kind)
        check("robe", self.robe)
        check("hat", self.hat)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One picture. The first of two people stands left and faces right, the second right and faces left."""

    people: tuple[Person, ...]
    action: str
    place: str
    time: str
    shot: str
    animal: str | None = None
    prop: str | None = None

    def __post_init__(self) -> None:
        for attribute in ("action", "place", "time", "shot"):
            check(attribute, getattr(self, attribute))
        check("animal", self.animal or NONE)
        check("prop", self.prop or NONE)
        wanted = 2 if self.action in PAIR_ACTIONS else 1
        if len(self.people) != wanted:
            raise ValueError(f"{self.action!r} takes {wanted} people, not {len(self.people)}")
        if self.action == "riding" and self.animal not in MOUNTS:
            raise ValueError(f"nobody rides {self.animal!r}; people ride {', '.join(MOUNTS)}")


def attributes(scene: Scene) -> dict[str, str]:
    """Return the attributes of `scene`, by the keys of ATTRIBUTES.

    The vocabulary has no values for Aldar's kind, robe and hat or a stranger's robe, so those keys are absent.
    """
    truth = {
        "action": scene.action,
        "place": scene.place,
        "time": scene.time,
        "shot": scene.shot,
        "animal": scene.animal or NONE,
        "prop": scene.prop or NONE,
    }
    for person, suffix in zip(scene.people, ("", "2"), strict=False):
        own = {"kind": person.kind, "robe": person.robe, "hat": person.hat}
        truth |= {key + suffix: value for key, value in own.items() if key not in person.nameless}
    if len(scene.people) == 1:
        truth |= {"kind2": NONE, "robe2": NONE, "hat2": NONE}
    return truth


def random_person(rng: random.Random) -> Person:
    """Return a random person; every kind, robe and hat is equally likely."""
    return Person(kind=rng.choice(KINDS), robe=rng.choice(ROBES), hat=rng.choice(HATS))


def random_action(rng: random.Random) -> str:
    """Return a random action: for two people in 55 % of the pictures, riding in 12 %, for one person in the rest."""
    draw = rng.random()
    if draw < 0.55:
        return rng.choice(PAIR_ACTIONS)
    return "riding" if draw < 0.67 else rng.choice(SINGLE_ACTIONS)


def random_scene(rng: random.Random) -> Scene:
    """Return a random scene; every value of every attribute is frequent.

    Inside a yurt nobody rides, and the only animals are dogs and sheep, because no prompt needs others there.
    """
    action = random_action(rng)
    indoors = ("inside a yurt",) if action != "riding" else ()
    place = rng.choice((*PLACES[:-1], *indoors))
    guests = ("dog", "sheep") if place == "inside a yurt" else ANIMALS
    animal = rng.choice(MOUNTS) if action == "riding" else rng.choice(guests) if rng.random() < 0.4 else None
    return Scene(
        people=tuple(random_person(rng) for _ in range(2 if action in PAIR_ACTIONS else 1)),
        action=action,
        place=place,
        time=rng.choice(TIMES),
        shot=rng.choice(SHOTS),
        animal=animal,
        prop=rng.choice(PROPS) if rng.random() < 0.4 else None,
    )
