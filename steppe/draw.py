"""Drawings: places, animals, people and things composed into one picture of a scene."""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw

from steppe import aldar
from steppe.animals import ANIMALS, SADDLES, reins, saddle
from steppe.captions import caption
from steppe.people import Look, draw_person
from steppe.place_view import View
from steppe.places import backdrop, sky
from steppe.poses import POSES, Pose
from steppe.shapes import SHAPES
from steppe.stage import (
    LINED,
    OVERSIZE,
    SHOTS,
    SMALL,
    Board,
    Place,
    edge,
    frame_of,
    look_for,
    place_of_animal,
    places_of,
)
from steppe.things import LIGHTS, PROPS, Pen, Point, shade, table
from steppe.world import Scene, random_scene

Head = tuple[float, float, float]
"""Centre and radius of a head in pixels."""
SQUARE = (256, 256)
"""Width and height of a picture where no other size is given."""


def draw_animal(board: Board, people: list[Place]) -> None:
    """Draw the scene's animal and its shadow."""
    animal = board.scene.animal or ""
    place = place_of_animal(board, animal, people)
    board.shadow(place.spot, place.unit * (0.35 if animal in SMALL else 0.45))
    ANIMALS[animal](board.stand(place.spot, place.unit, place.facing))


def put_person(board: Board, pen: Pen, look: Look, pose: Pose) -> None:
    """Draw a person, and note where the head is."""
    head = draw_person(pen, look, pose)
    board.heads.append((head.x, head.y, head.unit))


def draw_rider(board: Board, facing: int) -> None:
    """Draw a rider on a saddled animal, one leg over the near flank, the reins in hand."""
    shot, animal, dice = board.scene.shot, board.scene.animal or "", board.dice("rider")
    unit, feet = {"near": (0.76, -0.24), "middle": (0.52, 0.09), "far": (0.48, 0.1)}[shot]
    feet -= 0.06 if animal == "camel" and shot == "near" else 0.0  # a camel is high
    spot = (0.5 - facing * 0.05 + dice.uniform(-0.03, 0.03), feet)
    board.shadow(spot, unit * 0.5)
    mount = board.stand(spot, unit, facing)
    ANIMALS[animal](mount)
    saddle(mount, animal)
    seat, pose = mount.at(SADDLES[animal], 0.92 if animal == "camel" else 0.96), POSES["riding"]
    look = look_for(board, 0)
    reins(mount, animal, seat.at((0, 0), look.body.height).spot(pose.far_arm[1]))
    put_person(board, seat, look, pose)


def draw_single(board: Board, place: Place) -> None:
    """Draw one person on the ground, with the action's accessories: a cushion, a pillow, dust."""
    action, pose = board.scene.action, POSES[board.scene.action]
    (x, y), unit, facing = place.spot, place.unit, place.facing
    look = look_for(board, 0)
    if action == "sleeping":
        board.shadow((0.5, y - 0.02), unit * 0.56)
        pen = board.stand((x, y + 0.12 * unit), unit, facing)
        pen.shape([(-1.08, -0.02), (-1.08, -0.15), (-0.62, -0.15), (-0.62, -0.02)], (244, 170, 190))
    else:
        board.shadow((x, y), unit * (0.4 if action in ("running", "sitting") else 0.27))
        pen = board.stand((x, y), unit, facing)
    if action == "sitting":
        pen.oval((0, 0.0), (0.42, 0.07), (222, 96, 92))
    if action == "running":
        for dx, dy, size in ((-0.5, 0.06, 0.07), (-0.62, 0.05, 0.05), (-0.42, 0.02, 0.05)):
            pen.oval((dx, dy), (size, size * 0.8), shade(board.ground, 0.5), outline=False)
    put_person(board, pen, look, pose)


def draw_pair(board: Board, people: list[Place]) -> None:
    """Draw two people who talk, bargain over a table, or hand over a thing."""
    scene = board.scene
    looks = [look_for(board, index) for index in (0, 1)]
    pens = [board.stand(place.spot, place.unit, place.facing) for place in people]
    middle, unit = (people[0].spot[0] + people[1].spot[0]) / 2, people[0].unit
    for place in people:
        board.shadow(place.spot, place.unit * 0.27)
    pose = POSES[scene.action]
    if scene.action == "giving":
        draw_giving(board, pens, looks, (middle, people[0].spot[1] * 0.5 + people[1].spot[1] * 0.5 + 0.4 * unit))
        return
    for pen, look in zip(pens, looks, strict=True):
        put_person(board, pen, look, pose)
    if scene.action == "bargaining":
        top = max(board.shot.feet + 0.2 * unit, 0.08)
        desk = board.stand((middle, top), unit, 1)
        table(desk)
        if scene.prop:
            PROPS[scene.prop](desk.at((0, 0.02), 0.31 if scene.shot == "near" else 0.36))
        else:
            for x in (-0.1, 0.1, 0.0):
                desk.oval((x, 0.06 + 0.06 * (x == 0)), (0.055, 0.055), (240, 120, 60))


def draw_giving(board: Board, pens: list[Pen], looks: list[Look], point: Point) -> None:
    """Draw two people who both reach for the prop at `point`; without a prop the open hands meet."""
    prop, unit = board.scene.prop, pens[0].unit / board.pen.unit
    half = 0.12 * unit if prop else 0.03 * unit
    for pen, look, side in zip(pens, looks, (-1, 1), strict=True):
        hand = pen.at((0, 0), look.body.height).local(board.pen.spot((point[0] + side * half, point[1])))
        low = (hand[0] - 0.02, hand[1] - 0.05)
        elbow = ((hand[0] + 0.1) / 2, (hand[1] + 0.5) / 2 - 0.06)
        put_person(
            board,
            pen,
            look,
            replace(POSES["giving"], far_arm=(elbow, hand), near_arm=((elbow[0] - 0.12, elbow[1] - 0.04), low)),
        )
    if prop:
        PROPS[prop](board.stand((point[0], point[1] - 0.03 * unit), unit * 0.34, 1))


def draw_prop(board: Board, people: list[Place]) -> None:
    """Draw a prop on the ground in front, inside the picture also in near shots."""
    scene, shot = board.scene, board.shot
    if scene.prop is None or scene.action in ("giving", "bargaining"):
        return
    unit = shot.height * (0.31 if len(people) == 2 and scene.shot == "near" else 0.4)
    low = max(shot.feet - 0.07, 0.03)
    if scene.action == "sleeping":  # at the sleeper's feet
        away = {"near": 0.33, "middle": 0.36, "far": 0.31}[scene.shot]
        spot = (0.5 + people[0].facing * away, {"near": 0.02, "middle": 0.07, "far": 0.1}[scene.shot])
    elif len(people) == 2:
        spot = ((people[0].spot[0] + people[1].spot[0]) / 2, low)
    elif scene.action == "riding":  # behind the mount's head
        spot = (0.5 - people[0].facing * (0.28 if scene.shot != "far" else 0.2), low)
    else:  # between a person and an animal, or on either side
        side = edge(board) if scene.animal else board.dice("prop").choice((-1, 1))
        spot = (people[0].spot[0] + side * shot.height * 0.3, low)
    board.shadow(spot, unit * 0.6)
    PROPS[scene.prop](board.stand(spot, unit, 1))


def draw_cast(board: Board) -> None:
    """Draw animals, people and props, from back to front."""
    scene = board.scene
    people = places_of(board)
    beside = scene.animal is not None and scene.action != "riding"
    before = scene.animal in SMALL and scene.action != "sleeping"  # small animals hide robes, but no faces
    if beside and not before:
        draw_animal(board, people)
    if scene.action == "riding":
        draw_rider(board, people[0].facing)
    elif len(people) == 2:
        draw_pair(board, people)
    else:
        draw_single(board, people[0])
    if beside and before:
        draw_animal(board, people)
    draw_prop(board, people)


TRAINING_SIZES = {"square": (1024, 1024), "wide": (1792, 1024), "tall": (1024, 1792)}
"""Width and height of the pictures that a character is trained on: a square of SDXL's size can be cut out of each."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A drawing, RGB, and where its heads are."""

    image: Image.Image
    heads: tuple[Head, ...]
    """Each person's, in the order of the scene's people."""


def draw_scene(scene: Scene, seed: int, size: tuple[int, int] = SQUARE) -> Drawing:
    """Return the drawing of `scene`, `size` (width, height) pixels; always the same for a scene, seed and size."""
    frame, shot, light = frame_of(scene, *size), SHOTS[scene.shot], LIGHTS[scene.time]
    width, height, unit = (OVERSIZE * number for number in (frame.width, frame.height, frame.unit))
    image = sky(scene.time, round(width), round(height)).copy()
    pen = Pen(
        canvas=ImageDraw.Draw(image),
        x=-frame.left * unit,
        y=height + frame.bottom * unit,
        unit=unit,
        line=shot.line * unit / LINED,
        tint=light.tint,
        share=light.land,
    )
    dice = random.Random(f"{seed}/place")
    view = View(
        time=scene.time,
        horizon=shot.horizon + dice.uniform(-0.02, 0.02),
        zoom=shot.zoom,
        rng=dice,
        left=frame.left,
        right=frame.right,
        bottom=frame.bottom,
        top=frame.top,
    )
    ground = shade(backdrop(pen, scene.place, view), 0.0)
    board = Board(pen=replace(pen, share=light.people), shot=shot, scene=scene, seed=seed, ground=pen.colour(ground))
    draw_cast(board)
    heads = tuple((x / OVERSIZE, y / OVERSIZE, radius / OVERSIZE) for x, y, radius in board.heads)
    return Drawing(image=image.reduce(OVERSIZE), heads=heads)


def draw(scene: Scene, seed: int, size: tuple[int, int] = SQUARE) -> Image.Image:
    """Return the picture of `draw_scene`."""
    return draw_scene(scene, seed, size).image


def sheet(scenes: list[Scene], columns: int = 8, size: tuple[int, int] = SQUARE) -> Image.Image:
    """Return a contact sheet of scenes; the n-th is drawn with seed n."""
    rows, (width, height) = -(-len(scenes) // columns), size
    result = Image.new("RGB", (columns * width, rows * height))
    for n, scene in enumerate(scenes):
        result.paste(draw(scene, n, size), (n % columns * width, n // columns * height))
    return result


def write_images(folder: Path, name: str, scenes: list[Scene], shapes: list[str], first_seed: int) -> None:
    """Write captioned pictures, `name`_001.webp and `name`_001.txt and so on (70: about 2.3 MB)."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, (scene, shape) in enumerate(zip(scenes, shapes, strict=True), start=1):
        file = folder / f"{name}_{n:03d}"
        draw(scene, first_seed + n, TRAINING_SIZES[shape]).save(file.with_suffix(".webp"), lossless=True)
        text = caption(scene, random.Random(f"caption {n}"))
        file.with_suffix(".txt").write_text(f"{text}\n", encoding="utf-8")


def other_scenes() -> list[Scene]:
    """Return the scenes without Aldar that his training keeps in mind, always the same: as many as his own."""
    return [random_scene(random.Random(f"other {n}")) for n in range(1, aldar.PICTURES + 1)]


def main() -> None:
    """Command line: a contact sheet, or the pictures that Aldar's LoRA is trained on."""
    parser = argparse.ArgumentParser(description="draw the steppe world")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="write a contact sheet of random scenes")
    parser.add_argument("--aldar", type=Path, metavar="FOLDER", help="write Aldar's captioned pictures")
    parser.add_argument("--others", type=Path, metavar="FOLDER", help="write captioned pictures of others")
    parser.add_argument("--shape", choices=list(SHAPES), default="square", help="of the sheet (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the sheet's seed")
    options = parser.parse_args()
    if options.sheet:
        rng = random.Random(options.seed)
        sheet([random_scene(rng) for _ in range(48)], size=SHAPES[options.shape]).save(options.sheet)
    if options.aldar:
        write_images(options.aldar, "aldar", aldar.aldar_scenes(), aldar.shapes(4, 3, 3), 7000)
    if options.others:
        write_images(options.others, "other", other_scenes(), aldar.shapes(5, 3, 2), 8000)


if __name__ == "__main__":
    main()
