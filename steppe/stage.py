"""Layout of a picture: the part of the scene that it shows, the three shots, and the places of people and animals.

Scenes are laid out for a square, which is one unit wide and high with (0, 0) in its lower left corner. Pictures of
other shapes show the same people in a wider or higher part of the place.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from steppe import aldar, strangers
from steppe.animals import HEADS
from steppe.people import Look, look_of
from steppe.things import Colour, Pen, Point, shade
from steppe.world import Person, Scene

OVERSIZE = 2
"""Everything is drawn so many times larger and then reduced, which smooths the edges."""
LINED = 512
"""Pixels to a unit for which the shots' outlines are given."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The part of a scene that a picture shows."""

    width: int
    height: int
    """The picture in pixels."""
    unit: float
    """Pixels of the picture to one unit."""
    left: float
    bottom: float
    """The picture's lower left corner, in units."""

    @property
    def right(self) -> float:
        """The right edge, in units."""
        return self.left + self.width / self.unit

    @property
    def top(self) -> float:
        """The upper edge, in units."""
        return self.bottom + self.height / self.unit


def frame_of(scene: Scene, width: int, height: int) -> Frame:
    """Return what a picture of `width` x `height` pixels shows: a square all of it, others with the people as large as
    the shorter side allows. Two people, or a person with an animal, need the whole width of a high picture.
    """
    if width >= height:
        unit = min((1.1 if scene.action == "riding" else 1.25) * height, float(width))  # a rider's hat is high
        cut = 1.0 - height / unit
        near = 1.0 if scene.action == "sitting" else 0.55  # a sitter's hat is higher
        bottom = cut * (near if scene.shot == "near" else 0.35)
    else:
        alone = len(scene.people) == 1 and scene.animal is None and scene.action != "sleeping"
        unit = min((1.25 if alone else 1.0) * width, float(height))
        bottom = (1.0 - height / unit) * (0.0 if scene.shot == "near" else 0.3)
    return Frame(width=width, height=height, unit=unit, left=0.5 - width / (2 * unit), bottom=bottom)


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A shot: an adult's height, the ground line and the horizon in units, zoom of the place, outline's width."""

    height: float
    feet: float
    horizon: float
    zoom: float
    line: float


SMALL = ("dog", "sheep")
"""Animals that stand in front of people; the others stand behind."""
SLEEPERS = {"near": (0.86, 0.26), "middle": (0.8, 0.19), "far": (0.68, 0.19)}
"""A sleeper's height and ground line. They are larger than those who stand: a face on its side is hard to paint."""
SHOTS = {
    "near": Shot(height=0.96, feet=-0.24, horizon=0.36, zoom=1.5, line=8.5),
    "middle": Shot(height=0.58, feet=0.1, horizon=0.4, zoom=1.1, line=7.0),
    "far": Shot(height=0.47, feet=0.12, horizon=0.42, zoom=0.8, line=6.0),
}


@dataclass(frozen=True, kw_only=True)
class Board:
    """One drawing's pen (in the units of the layout), shot, scene, seed, colour of the ground, and the heads drawn."""

    pen: Pen
    shot: Shot
    scene: Scene
    seed: int
    ground: Colour = (0, 0, 0)
    heads: list[tuple[float, float, float]] = field(default_factory=list)
    """Centre and radius of each person's head in pixels of the canvas, in the order of the scene's people."""

    def dice(self, part: str) -> random.Random:
        """Return a part's own random numbers, so that a change of one part does not move the others."""
        return random.Random(f"{self.seed}/{part}")

    def stand(self, spot: Point, unit: float, facing: int) -> Pen:
        """Return a pen for someone at `spot`."""
        place = self.pen.at(spot)
        return replace(place, unit=unit * self.pen.unit, facing=facing)

    def shadow(self, spot: Point, wide: float) -> None:
        """Draw a patch of darker ground."""
        self.pen.oval(spot, (wide, wide * 0.2), shade(self.ground, -0.26), outline=False)


def look_for(board: Board, index: int) -> Look:
    """Return the look of one of the scene's people."""
    person: Person = board.scene.people[index]
    dice = board.dice(f"person {index}")
    if person.aldar:
        return aldar.look(dice, person.flaw)
    own = look_of(person, dice)
    if person.costume is not None:
        own = replace(own, robe=strangers.robe_of(person.costume))
    if person.borrows == "robe":
        return replace(own, robe=aldar.look(dice).robe)
    return replace(own, hat=aldar.kalpak) if person.borrows == "hat" else own


@dataclass(frozen=True, kw_only=True)
class Place:
    """A person's or animal's place: feet, height of an adult in units, facing."""

    spot: Point
    unit: float
    facing: int


def edge(board: Board) -> int:
    """Return the side of the picture where an animal stands: 1 right, -1 left."""
    return board.dice("edge").choice((-1, 1))


def places_of(board: Board) -> list[Place]:
    """Return the people's places: two face each other and make room for an animal, one may face either side."""
    shot, scene, dice = board.shot, board.scene, board.dice("places")
    unit = shot.height * dice.uniform(0.97, 1.03)
    feet = shot.feet + dice.uniform(-0.012, 0.012)
    beside = scene.animal is not None and scene.action != "riding"
    if len(scene.people) == 2:
        apart = {"near": 0.58, "middle": 0.4, "far": 0.35}[scene.shot] + dice.uniform(-0.01, 0.015)
        aside = 0.0 if not beside else 0.09 if scene.shot != "near" else 0.06 if scene.animal in SMALL else 0.0
        centre = 0.5 - edge(board) * aside
        unit *= 0.9 if scene.shot == "near" else 1.0
        girths = [max(look_for(board, index).body.widths[3] - 1.0, 0.0) * 0.06 * unit for index in (0, 1)]
        return [
            Place(spot=(centre - side * (apart / 2 + girth), feet + lift(board, index, unit)), unit=unit, facing=side)
            for index, (side, girth) in enumerate(zip((1, -1), girths, strict=True))
        ]
    facing = dice.choice((-1, 1))
    centre = 0.5 - edge(board) * (0.2 if beside else 0.0) + dice.uniform(-0.03, 0.03)
    if scene.action == "sleeping":
        unit, feet = SLEEPERS[scene.shot]
        unit *= dice.uniform(0.97, 1.03)
        return [Place(spot=(0.5 + facing * unit * 0.5, feet), unit=unit, facing=facing)]
    if scene.action == "sitting" and scene.shot == "near":
        unit, feet = unit * 0.97, 0.02
    if scene.action == "running" and scene.shot == "near":
        centre, feet = centre - facing * 0.12, feet + 0.06
    return [Place(spot=(centre, feet + lift(board, 0, unit)), unit=unit, facing=facing)]


def lift(board: Board, index: int, unit: float) -> float:
    """Return how much higher a small person stands in a near shot, so that the picture's edge does not cut the robe."""
    short = 1.0 - look_for(board, index).body.height
    return 0.5 * unit * max(short, 0.0) if board.scene.shot == "near" and board.scene.action != "sitting" else 0.0


def place_of_animal(board: Board, animal: str, people: list[Place]) -> Place:
    """Return an animal's place: its head is beside the people, or between the faces of a near pair."""
    scene, side, facing = board.scene, edge(board), board.dice("animal").choice((-1, 1))
    head, unit, feet = HEADS[animal], people[0].unit * 0.85, board.shot.feet
    if scene.action == "sleeping":
        facing, unit = people[0].facing, min(unit, 0.54)
        return Place(
            spot=(0.5 + facing * (0.24 - head[0] * unit), people[0].spot[1] + 0.1 * unit), unit=unit, facing=facing
        )
    if animal in SMALL:
        if scene.shot == "near":
            crowd = len(people) - 1
            return Place(spot=(0.5 + side * 0.39, -0.02 - 0.04 * crowd), unit=0.52 - 0.06 * crowd, facing=-side)
        return Place(spot=(0.5 + side * 0.38, feet - 0.03), unit=unit * 0.95, facing=-side)
    if len(people) == 1:
        return Place(
            spot=(0.5 + side * ((0.15 if scene.shot == "near" else 0.12) + head[0] * unit), feet + 0.05),
            unit=unit,
            facing=-side,
        )
    if scene.shot == "near":
        return Place(spot=(0.5 - facing * head[0] * unit, 0.6 - head[1] * unit), unit=unit, facing=facing)
    return Place(spot=(0.5 + side * (0.41 - head[0] * unit), feet + 0.05), unit=unit, facing=side)
