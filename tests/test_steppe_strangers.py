"""Strangers of the steppe world: each looks the same everywhere, and the vocabulary has no word for their robes."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from steppe import pretrain
from steppe.captions import caption_with_truth
from steppe.classifier import HEADS, UNKNOWN
from steppe.dataset import first_stranger, random_hero_scene, truth_row, who_leads
from steppe.draw import draw
from steppe.people import ROBE_COLOURS
from steppe.strangers import (
    PATTERN_WORDS,
    ROBE_SCENES,
    SCENES_EACH,
    SHADES,
    name_of,
    robe_of,
    stranger,
    stranger_scene,
    wording,
)
from steppe.world import Scene, attributes, random_scene

NUMBERS = range(200)
ROBE_HEAD = list(HEADS).index("robe")


def scene_of(number: int) -> Scene:
    return stranger_scene(number * SCENES_EACH, random.Random(number))


def test_a_stranger_leads_consecutive_scenes_that_differ() -> None:
    for number in NUMBERS:
        scenes = [stranger_scene(number * SCENES_EACH + turn, random.Random(turn)) for turn in range(SCENES_EACH)]
        assert {scene.people[0] for scene in scenes} == {stranger(number)}
        assert len({(scene.place, scene.action, scene.time, scene.shot) for scene in scenes}) > 1


def test_two_strangers_wear_one_robe_and_different_hats() -> None:
    for first in NUMBERS[::2]:
        one, other = stranger(first), stranger(first + 1)
        assert one.costume == other.costume != stranger(first + 2).costume
        assert one.hat != other.hat


def test_a_costume_is_drawn_instead_of_the_robe() -> None:
    scene = Scene(people=(stranger(3),), action="standing", place="steppe", time="day", shot="near")
    other = replace(scene, people=(replace(stranger(3), robe="white" if stranger(3).robe == "red" else "red"),))
    assert np.array_equal(np.asarray(draw(scene, 1)), np.asarray(draw(other, 1)))
    another = replace(scene, people=(replace(stranger(3), costume=4),))
    assert (np.asarray(draw(scene, 1)) != np.asarray(draw(another, 1))).any(axis=2).sum() > 500


def test_costumes_have_all_hues_and_patterns() -> None:
    robes = [robe_of(number) for number in NUMBERS]
    assert len({name_of(robe.colour, SHADES) for robe in robes}) > 12
    assert {robe.pattern for robe in robes} == set(PATTERN_WORDS)
    assert robe_of(7) == robe_of(7)


def test_what_is_told_of_a_stranger_is_none_of_the_attributes_but_kind_and_hat() -> None:
    for number in NUMBERS:
        scene = scene_of(number)
        text, told = caption_with_truth(scene, random.Random(number))
        assert "robe" not in attributes(scene)
        assert told <= set(attributes(scene))
        assert truth_row(scene)[ROBE_HEAD] == UNKNOWN
        assert len(text.split()) <= 45


def test_a_robe_is_called_by_a_shade_that_no_named_robe_has() -> None:
    assert not set(SHADES) & set(ROBE_COLOURS)
    for number in NUMBERS:
        words = wording(number, random.Random(number))
        assert words.startswith(f"{name_of(robe_of(number).colour, SHADES)} ")
        assert not words.startswith(tuple(f"{colour} " for colour in ROBE_COLOURS))


def test_the_leader_of_a_row_has_one_number_in_all_their_rows() -> None:
    count = 60
    known = first_stranger(count)
    assert known % ROBE_SCENES == 0
    truth = np.array([
        truth_row(random_scene(random.Random(row)) if row < known else stranger_scene(row, random.Random(row)))
        for row in range(count)
    ])  # fmt: skip
    who = who_leads(truth, known)
    assert who[:known].max() < 1000 <= who[known:].min()
    groups = who[known:].reshape(-1, SCENES_EACH)
    assert (groups == groups[:, :1]).all()
    assert len(np.unique(groups)) == len(groups)


def test_the_judge_also_sees_strangers_in_his_robe_or_hat() -> None:
    people = [random_hero_scene(random.Random(seed)).people[0] for seed in NUMBERS]
    assert {person.costume is not None for person in people if person.borrows} == {True, False}


def test_a_stage_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert pretrain.as_the_only_one("cpu")[0] == "cpu"
    seen, environment = pretrain.as_the_only_one("cuda:1")
    assert (seen, environment["CUDA_VISIBLE_DEVICES"]) == ("cuda", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert pretrain.as_the_only_one("cuda:1")[1]["CUDA_VISIBLE_DEVICES"] == "7"
