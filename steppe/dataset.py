"""Drawing sets, with labels and captions: the only training data of the steppe models.

A drawing set is a folder of arrays. Worker processes fill them row by row, and training maps them without copying:

    pictures.npy   uint8 [N, 256, 256, 3]
    edges.npy      uint8 [N, 8192]            Canny edges, 256 x 256 bits
    truth.npy      uint8 [N, 14]              index of each head's value, in the order of the classifier's HEADS
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

from steppe.aldar import random_aldar_scene
from steppe.architecture import SIZE
from steppe.captions import caption
from steppe.classifier import HEADS, NO, UNKNOWN, YES
from steppe.draw import draw
from steppe.strangers import SCENES_EACH, stranger_scene
from steppe.world import Scene, attributes, random_scene

CAPTIONS = 6
"""Captions per drawing; training picks one at random each time."""
STRANGERS = 1 / 3
"""Share of the drawings, the last ones, that show strangers."""
HERO_SEED = 5 * 10**8
"""Drawings from this seed on show Aldar or his clothes; only the classifier is trained on them."""
VALIDATION_SEED = 10**9
"""Drawings from this seed on are for validation only."""
_CHUNK = 250


@dataclass(frozen=True)
class DrawingSet:
    """A drawing set, mapped into memory."""

    pictures: Any
    edges: Any
    truth: Any
    captions: list[list[str]]


def truth_row(scene: Scene) -> list[int]:
    """Return the index of each head's value, in the order of the classifier's HEADS; 255 for no value."""
    worn = {part: any(person.aldar or person.borrows == part for person in scene.people) for part in ("robe", "hat")}
    truth = attributes(scene) | {f"hero_{part}": YES if found else NO for part, found in worn.items()}
    return [values.index(truth[name]) if name in truth else UNKNOWN for name, values in HEADS.items()]


def random_hero_scene(rng: random.Random) -> Scene:
    """Return a scene with Aldar, or (one in three) with another person in his robe or kalpak; half are strangers."""
    if rng.random() > 1 / 3:
        return random_aldar_scene(rng)
    scene = random_scene(rng)
    costume = rng.randrange(10**9) if rng.random() < 0.5 else None
    first = replace(scene.people[0], borrows=rng.choice(("robe", "hat")), costume=costume)
    return replace(scene, people=(first, *scene.people[1:]))


def canny(picture: Any) -> Any:
    """Return Canny edges of uint8 [H, W, 3], as bool [H, W], with the thresholds of SDXL's ControlNet training."""
    import cv2

    return cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 100, 200) > 0


def draw_set(folder: Path, count: int, first_seed: int = 0) -> None:
    """Draw `count` random scenes into `folder`, on all cores.

    The first rows show the world's own people, the last third strangers. From HERO_SEED on, all show hero scenes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, shape in (("pictures", (SIZE, SIZE, 3)), ("edges", (SIZE * SIZE // 8,)), ("truth", (len(HEADS),))):
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=(count, *shape))
    known = first_stranger(count) if first_seed < HERO_SEED else count
    jobs = [(folder, start, min(start + _CHUNK, count), first_seed, known) for start in range(0, count, _CHUNK)]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        captions = [wordings for chunk in pool.imap(_draw_chunk, jobs) for wordings in chunk]
    (folder / "captions.json").write_text(json.dumps(captions), encoding="utf-8")


def first_stranger(count: int) -> int:
    """Return the first of `count` rows that shows a stranger; from there, each stranger has SCENES_EACH rows."""
    return round(count * (1 - STRANGERS) / SCENES_EACH) * SCENES_EACH


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


def _draw_chunk(job: tuple[Path, int, int, int, int]) -> list[list[str]]:
    folder, start, end, first_seed, known = job
    pictures, edges, truth = (
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="r+") for name in ("pictures", "edges", "truth")
    )
    random_one = random_hero_scene if HERO_SEED <= first_seed < VALIDATION_SEED else random_scene
    captions = []
    for row in range(start, end):
        rng = random.Random(first_seed + row)
        scene = random_one(rng) if row < known else stranger_scene(row, rng)
        picture = np.asarray(draw(scene, seed=first_seed + row))
        pictures[row] = picture
        edges[row] = np.packbits(canny(picture))
        truth[row] = truth_row(scene)
        captions.append([caption(scene, rng) for _ in range(CAPTIONS)])
    return captions


def open_set(folder: Path) -> DrawingSet:
    """Return the drawing set that `draw_set` wrote to `folder`."""
    return DrawingSet(
        pictures=np.load(folder / "pictures.npy", mmap_mode="r"),
        edges=np.load(folder / "edges.npy", mmap_mode="r"),
        truth=np.load(folder / "truth.npy"),
        captions=json.loads((folder / "captions.json").read_text(encoding="utf-8")),
    )
