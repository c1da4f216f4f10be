"""Validation drawings and captions, from fixed seeds. No model was trained on them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from steppe.aldar import aldar_scenes, random_aldar_scene
from steppe.captions import caption_with_truth
from steppe.dataset import VALIDATION_SEED, random_hero_scene
from steppe.draw import SQUARE, draw
from steppe.views import whole_view
from steppe.world import HATS, Scene, attributes, random_scene

_EVERYBODY, _ALDAR, _HEROES, PAIRS = (VALIDATION_SEED + part * 10**6 for part in range(4))
"""First seeds of the kinds of cases, a million apart."""


@dataclass(frozen=True)
class Case:
    """A validation scene with its drawing and its caption."""

    scene: Scene
    seed: int

    @cached_property
    def picture(self) -> Any:
        """The drawing, uint8 [256, 256, 3]."""
        return np.array(whole_view(self.scene, self.seed, SQUARE).picture)

    @cached_property
    def _told(self) -> tuple[str, frozenset[str]]:
        return caption_with_truth(self.scene, random.Random(f"caption {self.seed}"))

    @property
    def text(self) -> str:
        """The caption, which is also the prompt."""
        return self._told[0]

    @property
    def named(self) -> dict[str, str]:
        """The attributes that the caption names, with their values."""
        truth = attributes(self.scene)
        return {key: truth[key] for key in sorted(self._told[1])}


def everybody(count: int) -> list[Case]:
    """Return `count` random scenes without Aldar."""
    return _cases(random_scene, _EVERYBODY, count)


def aldars(count: int) -> list[Case]:
    """Return `count` random scenes with Aldar, none of them among the 70 of his training set."""
    return _cases(random_aldar_scene, _ALDAR, count)


def heroes(count: int) -> list[Case]:
    """Return `count` scenes with Aldar, or with another person in his robe or kalpak."""
    return _cases(random_hero_scene, _HEROES, count)


def _cases(make: Callable[[random.Random], Scene], first: int, count: int) -> list[Case]:
    learnt = set(aldar_scenes())
    cases: list[Case] = []
    seed = first
    while len(cases) < count:
        case = Case(make(random.Random(seed)), seed)
        cases += [case] if case.scene not in learnt else []
        seed += 1
    return cases


def head_boxes(case: Case) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns around each person's head: the hat, its height again below, and a margin.

    The hat is found by drawing the scene with another hat and comparing.
    """
    for index, person in enumerate(case.scene.people):
        other = replace(person, hat=HATS[(HATS.index(person.hat) + 1) % len(HATS)])
        people = tuple(other if place == index else who for place, who in enumerate(case.scene.people))
        changed = np.asarray(draw(replace(case.scene, people=people), case.seed)) != case.picture
        rows, columns = (np.flatnonzero(changed.any(axis=(axis, 2))) for axis in (1, 0))
        if len(rows):
            tall, side = int(rows[-1] - rows[0]), 6
            yield (
                slice(max(0, int(rows[0]) - side), int(rows[-1]) + tall),
                slice(max(0, int(columns[0]) - side), int(columns[-1]) + side),
            )
