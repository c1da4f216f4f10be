"""Figures of the small CLIP: how well it separates people across scenes, and right captions from wrong ones.

The product's scorer (`models.vision.clip`) computes the scores, so the percentiles apply to the profile's thresholds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image
from torch import Tensor

from models.vision.clip import ClipScorer, load_scorer
from steppe.aldar import random_aldar_scene
from steppe.easel import Easel, tell
from steppe.measures import Figure, separation, share, spread
from steppe.validation_scenes import PAIRS, Case, aldars, everybody
from steppe.world import Person, Scene, random_person, random_scene

CHOICES = 8
Make = Callable[[random.Random], Scene]


def clip_figures(easel: Easel, drawings: int) -> list[Figure]:
    """Return figures on validation drawings: same or other person, right or wrong caption, spread of the cosines."""
    scorer = load_scorer(easel.profile, easel.device)
    similarity = [*_people(scorer, drawings), *_aldar(scorer, drawings)]
    tell("  drawings compared with each other")
    cases = everybody(drawings)
    pictures, texts = _see(scorer, [case.picture for case in cases]), _read(scorer, cases)
    heroes = aldars(drawings)
    hero_pictures, hero_texts = _see(scorer, [case.picture for case in heroes]), _read(scorer, heroes)
    return [
        *similarity,
        share("clip", f"right caption among {CHOICES}, drawings", _retrieve(pictures, texts)),
        *_spreads("clip", "drawings of anybody", pictures, texts),
        *_spreads("clip", "drawings of Aldar", hero_pictures, hero_texts),
        *_consistency("clip", "drawings", hero_pictures, pictures),
    ]


def threshold_figures(easel: Easel, _drawings: int) -> list[Figure]:
    """Return the same cosines on pictures painted with the LoRA, as the gate will compare them."""
    scorer = load_scorer(easel.profile, easel.device)
    heroes, others = easel.painted("aldar"), easel.painted("unrelated")
    seen = [_see(scorer, [picture.image for picture in part]) for part in (heroes, others)]
    read = [_read(scorer, [picture.case for picture in part]) for part in (heroes, others)]
    if min(len(heroes), len(others)) <= 1:
        return []  # nothing to compare a picture with
    return [
        *_spreads("thresholds", "painted Aldar", seen[0], read[0]),
        *_spreads("thresholds", "painted others", seen[1], read[1]),
        *_consistency("thresholds", "painted", *seen),
    ]


def _see(scorer: ClipScorer, pictures: Sequence[Any]) -> Tensor:
    """Return unit vectors of pictures (images, or uint8 arrays), [pictures, features]."""
    import torch

    images = [part if isinstance(part, Image.Image) else Image.fromarray(part) for part in pictures]
    return torch.cat([scorer.image_features(images[start : start + 64]) for start in range(0, len(images), 64)])


def _read(scorer: ClipScorer, cases: Sequence[Case]) -> Tensor:
    """Return unit vectors of captions, [cases, features]."""
    import torch

    return torch.cat([scorer.text_features(case.text) for case in cases])


def _cosines(first: Tensor, second: Tensor) -> list[float]:
    """Return the cosine of each row with the same row of the other."""
    return [float(value) for value in (first * second).sum(dim=-1)]


def _people(scorer: ClipScorer, count: int) -> list[Figure]:
    """Compare a person with themselves elsewhere, and with another person at the same place and action."""
    scenes: list[tuple[Scene, Scene, Scene, Scene]] = []
    for seed in range(PAIRS, PAIRS + count):
        rng = random.Random(seed)
        scene = random_scene(rng)
        other = _someone_else(scene.people[0], rng)
        alike = _like(scene, random_scene, rng)
        swapped = replace(scene, people=(other, *scene.people[1:]))
        scenes.append(
            (scene, _led_by(scene.people[0], _elsewhere(scene, random_scene, rng)), _led_by(other, alike), swapped)
        )
    first, again, stranger, swap = _draw_rows(scorer, scenes)
    same, goal = _cosines(first, again), 0.9
    return [
        separation("clip", "same person elsewhere / another at the same place", same, _cosines(first, stranger), goal),
        separation("clip", "same person elsewhere / nothing else changed", same, _cosines(first, swap)),
    ]


def _aldar(scorer: ClipScorer, count: int) -> list[Figure]:
    """Compare Aldar with himself elsewhere, and with another person at the same place and action."""
    scenes: list[tuple[Scene, ...]] = []
    for seed in range(PAIRS + 10**5, PAIRS + 10**5 + count):
        rng = random.Random(seed)
        scene = random_aldar_scene(rng)
        scenes.append((scene, _elsewhere(scene, random_aldar_scene, rng), _like(scene, random_scene, rng)))
    first, again, stranger = _draw_rows(scorer, scenes)
    name = "Aldar elsewhere / another at the same place"
    return [separation("clip", name, _cosines(first, again), _cosines(first, stranger), 0.9)]


def _draw_rows(scorer: ClipScorer, rows: Sequence[tuple[Scene, ...]]) -> list[Tensor]:
    """Return the features of each column of scenes; every drawing has its own seed."""
    columns = enumerate(zip(*rows, strict=True))
    return [
        _see(scorer, [Case(scene, PAIRS + 10**6 * (n + 1) + row).picture for row, scene in enumerate(column)])
        for n, column in columns
    ]


def _led_by(person: Person, scene: Scene) -> Scene:
    return replace(scene, people=(person, *scene.people[1:]))


def _someone_else(person: Person, rng: random.Random) -> Person:
    """Return a random person who differs from `person` in at least one attribute."""
    while (other := random_person(rng)) == person:
        pass
    return other


def _elsewhere(scene: Scene, make: Make, rng: random.Random) -> Scene:
    """Return a random scene at another place, with another action."""
    while (other := make(rng)).place == scene.place or other.action == scene.action:
        pass
    return other


def _like(scene: Scene, make: Make, rng: random.Random) -> Scene:
    """Return a random scene at the same place, with the same action."""
    while (other := make(rng)).place != scene.place or other.action != scene.action:
        pass
    return other


def _retrieve(pictures: Tensor, texts: Tensor) -> list[bool]:
    """Return, for each picture, whether its own caption has the highest cosine among CHOICES."""
    found: list[bool] = []
    for start in range(0, len(pictures) - CHOICES + 1, CHOICES):
        rows = slice(start, start + CHOICES)
        best = (pictures[rows] @ texts[rows].T).argmax(dim=-1).tolist()
        found += [answer == own for own, answer in enumerate(best)]
    return found


def _spreads(group: str, what: str, pictures: Tensor, texts: Tensor) -> list[Figure]:
    """Return the text–image similarity of pictures with their own captions, and with the next picture's."""
    right, wrong = _cosines(pictures, texts), _cosines(pictures, texts.roll(1, dims=0))
    return [
        separation(group, f"own prompt / another's, {what}", right, wrong),
        spread(group, f"cosine with the own prompt, {what}", right),
        spread(group, f"cosine with another's prompt, {what}", wrong),
    ]


def _consistency(group: str, what: str, heroes: Tensor, others: Tensor) -> list[Figure]:
    """Return the image similarity of Aldar to himself in other scenes, and to other people in any scene."""
    count = min(len(heroes), len(others))
    same = _cosines(heroes, heroes.roll(1, dims=0))
    different = _cosines(heroes[:count], others[:count])
    return [
        separation(group, f"Aldar / others, {what}", same, different),
        spread(group, f"cosine of Aldar and Aldar in other scenes, {what}", same),
        spread(group, f"cosine of Aldar and others, {what}", different),
    ]
