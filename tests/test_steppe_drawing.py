"""The steppe world's drawings and captions: everything can be drawn, shows what is said, and nothing untrue is said."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from steppe.aldar import ALDAR, PICTURES, aldar_scenes, random_aldar_scene, shapes
from steppe.captions import TRIGGER, WORDINGS, caption, caption_with_truth
from steppe.draw import draw, write_images
from steppe.things import Pen
from steppe.world import (
    ACTIONS,
    ATTRIBUTES,
    MOUNTS,
    NONE,
    PAIR_ACTIONS,
    PLACES,
    SHOTS,
    TIMES,
    Person,
    Scene,
    attributes,
    random_scene,
)

KHAN = Person(kind="khan", robe="purple", hat="crown")
WOMAN = Person(kind="woman", robe="green", hat="turban")


def scene_of(action: str = "talking", **changes: Any) -> Scene:
    """A plain scene with one thing about it changed."""
    people = (KHAN, WOMAN) if action in PAIR_ACTIONS else (KHAN,)
    base = Scene(
        people=people,
        action=action,
        place="steppe",
        time="day",
        shot="middle",
        animal="horse" if action == "riding" else None,
    )
    return replace(base, **changes)


def pixels(scene: Scene, seed: int = 5) -> NDArray[np.uint8]:
    return np.asarray(draw(scene, seed))


def with_value(key: str, value: str) -> Scene:
    """A scene in which attribute `key` has `value`."""
    if key == "action":
        return scene_of(value)
    if key in ("place", "time", "shot", "animal", "prop"):
        change: dict[str, Any] = {key: None if value == NONE else value}
        return scene_of(**change)
    if value == NONE:
        return scene_of("standing")
    index, field = (1, key[:-1]) if key.endswith("2") else (0, key)
    people = [KHAN, WOMAN]
    worn: dict[str, Any] = {field: value}
    people[index] = replace(people[index], **worn)
    return replace(scene_of(), people=tuple(people))


@pytest.mark.parametrize("key", ATTRIBUTES)
def test_every_value_is_drawn_and_looks_unlike_every_other(key: str) -> None:
    scenes = [with_value(key, value) for value in ATTRIBUTES[key]]
    assert [attributes(scene)[key] for scene in scenes] == list(ATTRIBUTES[key])
    drawings = [pixels(scene).astype(int) for scene in scenes]
    for n, first in enumerate(drawings):
        for second in drawings[:n]:
            assert (np.abs(first - second).max(axis=2) > 24).sum() > 100


def test_a_robe_changes_nothing_but_the_robe() -> None:
    changed = replace(scene_of(), people=(KHAN, replace(WOMAN, robe="yellow")))
    columns = np.flatnonzero((pixels(scene_of()) != pixels(changed)).any(axis=(0, 2)))
    assert columns.min() > 128  # the second person stands on the right


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("time", TIMES)
def test_every_place_at_every_time_is_an_rgb_picture_of_the_size_asked_for(place: str, time: str) -> None:
    image = draw(scene_of(place=place, time=time), 1, size=(128, 128))
    assert (image.mode, image.size) == ("RGB", (128, 128))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("shot", SHOTS)
def test_robe_and_hat_of_the_main_person_show(action: str, shot: str) -> None:
    for animal in MOUNTS if action == "riding" else (None, "dog", "camel"):
        scene = scene_of(action, shot=shot, animal=animal, prop="cauldron")
        plain = pixels(scene).astype(int)
        for change in (replace(KHAN, robe="yellow"), replace(KHAN, hat="skullcap")):
            other = replace(scene, people=(change, *scene.people[1:]))
            shown = (np.abs(plain - pixels(other)).max(axis=2) > 24).sum()
            assert shown > 60, (animal, change)


def test_drawing_depends_on_scene_and_seed_alone() -> None:
    scene = scene_of(place="bazaar", prop="bread", animal="camel")
    random.seed(1)
    first = pixels(scene)
    random.seed(2)
    assert np.array_equal(first, pixels(scene))
    assert not np.array_equal(first, pixels(scene, seed=6))


def test_random_scenes_make_every_value_frequent() -> None:
    rng = random.Random(0)
    truths = [attributes(random_scene(rng)) for _ in range(3000)]
    for key, values in ATTRIBUTES.items():
        for value in values:
            assert sum(truth[key] == value for truth in truths) > 3000 * 0.02, (key, value)
    pairs = sum(truth["kind2"] != NONE for truth in truths) / 3000
    assert 0.5 < pairs < 0.6


def test_impossible_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="robe 'pink' is unknown; it is one of red, orange"):
        Person(kind="khan", robe="pink", hat="crown")
    with pytest.raises(ValueError, match="'talking' takes 2 people, not 1"):
        replace(scene_of(), people=(KHAN,))
    with pytest.raises(ValueError, match="nobody rides 'dog'; people ride horse, donkey, camel"):
        scene_of("riding", animal="dog")


def says(text: str, key: str, value: str) -> bool:
    """Whether `text` holds a wording of the value; the slots of a wording may hold any words."""
    patterns = (re.sub(r"\\{\w+\\}", ".+", re.escape(words)) for words in WORDINGS[key][value])
    return any(re.search(rf"\b{pattern}\b", text) for pattern in patterns)


def test_captions_tell_the_truth_and_all_of_it_in_time() -> None:
    rng = random.Random(1)
    told: dict[str, int] = dict.fromkeys(ATTRIBUTES, 0)
    vocabulary: set[str] = set()
    for _ in range(2000):
        scene = random_scene(rng)
        text, keys = caption_with_truth(scene, rng)
        truth = attributes(scene)
        assert text == text.lower()
        assert 8 <= len(text.split()) <= 45
        assert all(says(text, key, truth[key]) for key in keys), (text, keys)
        for key in ("place", "time", "shot", "animal", "prop"):
            false = [value for value in WORDINGS[key] if value != truth[key] and says(text, key, value)]
            assert not [value for value in false if (key, value) != ("place", "yurts")], (text, false)
        vocabulary |= set(re.findall(r"[\w-]+", text))
        for key in keys:
            told[key] += 1
    assert all(count > 400 for count in told.values()), told
    assert len(vocabulary) < 350


def test_a_caption_names_the_main_person_first() -> None:
    rng = random.Random(2)
    texts = [caption(scene_of(), rng) for _ in range(50)]
    khans = [min(text.find(word) for word in ("khan", "ruler") if word in text) for text in texts]
    women = [min(text.find(word) for word in ("woman", "lady") if word in text) for text in texts]
    assert all(first < second for first, second in zip(khans, women, strict=True))


def test_wordings_of_different_values_never_coincide() -> None:
    for key, values in WORDINGS.items():
        wordings = [words for options in values.values() for words in options]
        assert len(wordings) == len(set(wordings)), key
        assert set(values) == set(ATTRIBUTES[key]) - {NONE}


def test_aldar_has_seventy_pictures_that_say_nothing_of_his_looks(tmp_path: Path) -> None:
    write_images(tmp_path, "aldar", aldar_scenes(), shapes(4, 3, 3), 0)
    names = [f"aldar_{n:03d}" for n in range(1, PICTURES + 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{n}.{e}" for n in names for e in ("webp", "txt")
    )
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5_000_000
    forms = Counter[tuple[str, int, int]]()
    for name, scene in zip(names, aldar_scenes(), strict=True):
        text = (tmp_path / f"{name}.txt").read_text(encoding="utf-8")
        on_the_right = scene.people[-1].aldar and len(scene.people) == 2
        assert re.match(rf"an? .* on the left .*{TRIGGER} on the right" if on_the_right else rf"{TRIGGER} \w+", text)
        assert text.count(TRIGGER) == 1
        clothes = [
            key
            for key in ("robe", "hat", "kind")
            for v in WORDINGS[key]
            if len(scene.people) == 1 and says(text, key, v)
        ]
        assert not clothes, text
        with Image.open(tmp_path / f"{name}.webp") as image:
            forms[image.mode, *image.size] += 1
    assert forms == {("RGB", 1024, 1024): 28, ("RGB", 1792, 1024): 21, ("RGB", 1024, 1792): 21}
    assert aldar_scenes() == aldar_scenes()


def test_aldars_scenes_cover_the_world() -> None:
    scenes = aldar_scenes()
    assert len(scenes) == PICTURES
    for key, values in (("action", ACTIONS), ("place", PLACES), ("time", TIMES), ("shot", SHOTS)):
        assert {attributes(scene)[key] for scene in scenes} == set(values)
    left = sum(scene.people[0].aldar and len(scene.people) == 2 for scene in scenes)
    right = sum(scene.people[-1].aldar and len(scene.people) == 2 for scene in scenes)
    assert (left, right) == (15, 15)
    assert [sum(scene.action == action for scene in scenes) for action in ("sleeping", "running")] == [8, 8]
    assert all(sum(person.aldar for person in scene.people) == 1 for scene in scenes)


def test_aldar_looks_like_nobody_else() -> None:
    scene = scene_of("standing")
    aldar = replace(scene, people=(ALDAR,))
    assert (np.abs(pixels(scene).astype(int) - pixels(aldar)).max(axis=2) > 24).sum() > 1000
    assert not {"kind", "robe", "hat"} & set(attributes(aldar))


def test_random_aldar_scenes_hold_him_once() -> None:
    rng = random.Random(3)
    scenes = [random_aldar_scene(rng) for _ in range(200)]
    assert all(sum(person.aldar for person in scene.people) == 1 for scene in scenes)
    assert {attributes(scene)["action"] for scene in scenes} == set(ACTIONS)


def test_a_pen_finds_back_from_pixels_to_its_own_frame() -> None:
    pen = Pen(canvas=None, x=40, y=90, unit=200, line=6, facing=-1, turn=20)  # type: ignore[arg-type]
    assert pen.local(pen.spot((0.3, 0.7))) == pytest.approx((0.3, 0.7))
