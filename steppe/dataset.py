"""Drawing sets, with labels and captions: the only training data of the steppe models.

A drawing set is a folder of arrays of one shape of picture, H x W pixels. Worker processes fill them row by row, and
training maps them without copying:

    pictures.npy   uint8 [N, H, W, 3]
    edges.npy      uint8 [N, H * W / 8]       Canny edges, a bit each
    truth.npy      uint8 [N, 16]              index of each head's value, in the order of the classifier's HEADS
    sizes.npy      int16 [N, 6]               SDXL's micro-conditioning, see `steppe.views`
    heads.npy      int16 [N, 2, 3]            column, row and radius of each person's head, 0 for nobody
    captions.json  [N][CAPTIONS] free text
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from steppe.aldar import ALDAR, random_aldar_scene
from steppe.captions import caption
from steppe.classifier import HEADS, NO, UNKNOWN, YES
from steppe.flawed_faces import FLAWS
from steppe.shapes import SHAPES
from steppe.strangers import ROBE_SCENES, SCENES_EACH, stranger_scene
from steppe.views import random_view, whole_view
from steppe.world import PAIR_ACTIONS, SINGLE_ACTIONS, Scene, attributes, random_scene

CAPTIONS = 6
"""Captions per drawing; training picks one at random each time."""
STRANGERS = 1 / 3
"""Share of the drawings, the last ones, that show strangers."""
FIRST_SEEDS = {"square": 0, "wide": 10**8, "tall": 2 * 10**8}
HERO_SEED = 5 * 10**8
"""Drawings from this seed on show Aldar or his clothes; only the classifier is trained on them."""
VALIDATION_SEED = 10**9
"""Drawings from this seed on are for validation only."""
FLAWED, TWICE = 0.35, 0.16
"""Share of the hero's scenes in which his face is flawed, and of those with two people in which he is both."""
ASLEEP = 0.1
"""Share of the hero's scenes in which he is made to sleep: his face is the hardest to judge there."""
HARDER = 0.25
"""Share of the base's scenes with one person on foot in which this person sleeps or runs: the poses it paints worst."""
_CHUNK = 250


@dataclass(frozen=True)
class DrawingSet:
    """A drawing set, mapped into memory."""

    pictures: Any
    edges: Any
    truth: Any
    sizes: Any
    heads: Any
    captions: list[list[str]]


def truth_row(scene: Scene) -> list[int]:
    """Return the index of each head's value, in the order of the classifier's HEADS; 255 for no value."""
    worn = {part: any(person.aldar or person.borrows == part for person in scene.people) for part in ("robe", "hat")}
    truth = attributes(scene) | {f"hero_{part}": YES if found else NO for part, found in worn.items()}
    heroes = [person for person in scene.people if person.aldar]
    truth["hero_face"] = YES if heroes and not any(person.flaw for person in heroes) else NO
    if not any(person.borrows for person in scene.people):
        truth["heroes"] = str(len(heroes))
    return [values.index(truth[name]) if name in truth else UNKNOWN for name, values in HEADS.items()]


def random_hero_scene(rng: random.Random) -> Scene:
    """Return a scene with Aldar, his face whole or flawed, seldom twice, or (one in three) with another person in his
    robe or kalpak; half of those are strangers.
    """
    if rng.random() > 1 / 3:
        scene = random_aldar_scene(rng)
        if scene.action != "riding" and rng.random() < ASLEEP:
            scene = replace(scene, people=(ALDAR,), action="sleeping")
        flaw = rng.choice(FLAWS) if rng.random() < FLAWED else None
        if scene.action in PAIR_ACTIONS and rng.random() < TWICE:
            return replace(scene, people=(replace(ALDAR, flaw=flaw), ALDAR))
        return replace(scene, people=tuple(replace(one, flaw=flaw) if one.aldar else one for one in scene.people))
    scene = random_scene(rng)
    costume = rng.randrange(10**9) if rng.random() < 0.5 else None
    first = replace(scene.people[0], borrows=rng.choice(("robe", "hat")), costume=costume)
    return replace(scene, people=(first, *scene.people[1:]))


def random_training_scene(rng: random.Random) -> Scene:
    """Return a random scene for the base; people sleep and run more often than in `random_scene`."""
    scene = random_scene(rng)
    if scene.action in SINGLE_ACTIONS and rng.random() < HARDER:
        return replace(scene, action=rng.choice(("sleeping", "running")))
    return scene


def canny(picture: Any) -> Any:
    """Return Canny edges of uint8 [H, W, 3], as bool [H, W], with the thresholds of SDXL's ControlNet training."""
    import cv2

    return cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 100, 200) > 0


def draw_set(folder: Path, count: int, shape: str = "square", *, heroes: bool = False) -> None:
    """Draw `count` random scenes in a shape of SHAPES into `folder`, on all cores.

    The first rows show the world's own people, the last third strangers; with `heroes`, all show hero scenes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    width, height = SHAPES[shape]
    bytes_of = {"pictures": (height, width, 3), "edges": (width * height // 8,), "truth": (len(HEADS),)}
    for name, row in bytes_of.items():
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=(count, *row))
    for name, row in (("sizes", (6,)), ("heads", (2, 3))):
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.int16, shape=(count, *row))
    jobs = [
        _Job(
            folder=folder, shape=shape, start=start, end=min(start + _CHUNK, count), heroes=heroes,
            known=count if heroes else first_stranger(count),
        )
        for start in range(0, count, _CHUNK)
    ]  # fmt: skip
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        captions = [wordings for chunk in pool.imap(_draw_chunk, jobs) for wordings in chunk]
    (folder / "captions.json").write_text(json.dumps(captions), encoding="utf-8")


def first_stranger(count: int) -> int:
    """Return the first of `count` rows that shows a stranger; from there, each stranger has SCENES_EACH rows."""
    return int(count * (1 - STRANGERS) / ROBE_SCENES) * ROBE_SCENES


def who_leads(truth: Any, known: int) -> Any:
    """Return a number that identifies the leading person of each row of `truth`.

    Args:
        truth: uint8 [N, heads], the drawings of one set.
        known: the first row that shows a stranger.

    Returns:
        int64 [N].
    """
    people = truth[:, :3].astype(np.int64) @ np.array([100, 10, 1])
    strangers = 1000 + np.arange(len(truth)) // SCENES_EACH
    return np.where(np.arange(len(truth)) < known, people, strangers)


def is_plain(sizes: Any) -> Any:
    """Return which rows show their whole scene sharply, bool [N], from `sizes` [N, 6]."""
    return (sizes[:, 2:4] == 0).all(axis=1) & (sizes[:, 0] >= sizes[:, 4])


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Rows of a drawing set, for one worker process."""

    folder: Path
    shape: str
    start: int
    end: int
    heroes: bool
    known: int
    """The first row that shows a stranger."""


def _draw_chunk(job: _Job) -> list[list[str]]:
    arrays = {
        name: np.lib.format.open_memmap(job.folder / f"{name}.npy", mode="r+")
        for name in ("pictures", "edges", "truth", "sizes", "heads")
    }
    first_seed = FIRST_SEEDS[job.shape] + (HERO_SEED if job.heroes else 0)
    captions = []
    for row in range(job.start, job.end):
        seed = first_seed + row
        rng = random.Random(seed)
        known_scene = random_hero_scene if job.heroes else random_training_scene
        scene = known_scene(rng) if row < job.known else stranger_scene(row, rng)
        # Strangers are compared with each other, and heroes have labels: both are seen whole.
        view = (whole_view if job.heroes or row >= job.known else random_view)(scene, seed, SHAPES[job.shape])
        arrays["pictures"][row] = view.picture
        arrays["edges"][row] = np.packbits(canny(view.picture))
        arrays["truth"][row] = truth_row(scene)
        arrays["sizes"][row] = view.sizes
        for place, head in enumerate(view.heads):
            arrays["heads"][row, place] = np.round(head)
        captions.append([caption(scene, rng) for _ in range(CAPTIONS)])
    return captions


def open_set(folder: Path) -> DrawingSet:
    """Return the drawing set that `draw_set` wrote to `folder`."""
    return DrawingSet(
        pictures=np.load(folder / "pictures.npy", mmap_mode="r"),
        edges=np.load(folder / "edges.npy", mmap_mode="r"),
        truth=np.load(folder / "truth.npy"),
        sizes=np.load(folder / "sizes.npy"),
        heads=np.load(folder / "heads.npy"),
        captions=json.loads((folder / "captions.json").read_text(encoding="utf-8")),
    )
