"""The steppe world in other shapes than squares, and the views of it that the models are trained on."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from models.profiles import STEPPE
from models.vision.clip import load_scorer
from steppe.aldar import ALDAR, random_aldar_scene
from steppe.classifier import HEADS, Classifier, to_pixels
from steppe.dataset import is_plain, random_hero_scene, truth_row
from steppe.draw import draw, draw_scene
from steppe.flawed_faces import FLAWS, spoil
from steppe.likeness_loss import letterbox
from steppe.shapes import SHAPES, SHARES
from steppe.stage import frame_of
from steppe.views import random_view, whole_view
from steppe.world import Scene, random_scene

HERO = Scene(people=(ALDAR,), action="standing", place="steppe", time="day", shot="middle")
FACE = list(HEADS).index("hero_face")


@pytest.mark.parametrize("shape", SHAPES)
def test_every_head_and_hat_is_inside_the_picture(shape: str) -> None:
    width, height = SHAPES[shape]
    for seed in range(80):
        drawing = draw_scene(random_aldar_scene(random.Random(seed)), seed, SHAPES[shape])
        assert drawing.image.size == (width, height)
        for x, y, radius in drawing.heads:
            assert -0.5 * radius < x < width + 0.5 * radius
            assert y - 1.3 * radius > 0 and y + radius < height


def test_shapes_have_sdxls_area_and_the_shares_are_all() -> None:
    assert {shape: round(width * height / 2**16, 1) for shape, (width, height) in SHAPES.items()} == {
        "square": 1.0,
        "wide": 1.0,
        "tall": 1.0,
    }
    assert set(SHARES) == set(SHAPES) and sum(SHARES.values()) == pytest.approx(1.0)


def test_a_square_shows_all_of_a_scene_and_a_larger_one_the_same() -> None:
    frame = frame_of(HERO, 256, 256)
    assert (frame.left, frame.bottom, frame.right, frame.top) == (0.0, 0.0, 1.0, 1.0)
    small, large = draw(HERO, 3), draw(HERO, 3, (1024, 1024))
    assert np.abs(np.asarray(large.resize(small.size)).astype(int) - np.asarray(small)).mean() < 4


def test_a_wide_picture_shows_more_of_the_place() -> None:
    frame = frame_of(HERO, *SHAPES["wide"])
    assert frame.right - frame.left > 1.35
    assert frame_of(HERO, *SHAPES["tall"]).top > 1.2


@pytest.mark.parametrize("shape", SHAPES)
def test_clip_is_trained_on_the_squares_that_the_scorer_makes(shape: str) -> None:
    """One averages, the other is bicubic: they differ at edges, by 1 % of the range on average, and hardly to CLIP."""
    scorer, drawing = load_scorer(STEPPE, "cpu"), draw(HERO, 3, SHAPES[shape])
    trained = letterbox(to_pixels(torch.from_numpy(np.array(drawing))[None]))
    scored = scorer.processor(images=[scorer._in_square(drawing)], return_tensors="pt").pixel_values
    assert (trained - scored).abs().mean() < 0.02 * 2
    with torch.inference_mode():
        features = [scorer.model.get_image_features(pixel_values=pixels).pooler_output for pixels in (trained, scored)]
    assert torch.cosine_similarity(*features) > 0.99


def test_a_views_sizes_tell_what_was_done_to_it() -> None:
    kinds = set()
    for seed in range(60):
        scene = random_scene(random.Random(seed))
        view = random_view(scene, seed, SHAPES["wide"])
        height, width, top, left, *target = view.sizes
        assert view.picture.shape == (192, 336, 3) and target == [192, 336]
        whole = np.asarray(draw(scene, seed, SHAPES["wide"]))
        if (top, left) != (0, 0):
            kinds.add("cropped")
        elif height < 192:
            kinds.add("small")
            assert np.abs(view.picture.astype(int) - whole).max() > 3
        else:
            kinds.add("whole")
            assert height / width == pytest.approx(192 / 336, rel=0.02)
            assert (view.picture == whole).all()
    assert kinds == {"cropped", "small", "whole"}


def test_plain_rows_are_whole_and_sharp() -> None:
    rows = [
        [256, 256, 0, 0, 256, 256],
        [1024, 1024, 0, 0, 256, 256],
        [100, 100, 0, 0, 256, 256],
        [256, 400, 0, 9, 256, 256],
    ]
    assert is_plain(np.array(rows)).tolist() == [True, True, False, False]


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_changes_the_face_alone_and_its_label(flaw: str) -> None:
    flawed = Scene(people=(ALDAR.__class__(**{**vars(ALDAR), "flaw": flaw}),), action="standing", place="steppe",
                   time="day", shot="near")  # fmt: skip
    scene = Scene(people=(ALDAR,), action="standing", place="steppe", time="day", shot="near")
    one, other = whole_view(scene, 5, (256, 256)), whole_view(flawed, 5, (256, 256))
    changed = (one.picture != other.picture).any(axis=2)
    (x, y, radius) = one.heads[0]
    rows, columns = np.nonzero(changed)
    assert len(rows) > 20
    assert (np.abs(columns - x) < 1.4 * radius).all() and (rows - y > -0.8 * radius).all()
    assert (truth_row(scene)[FACE], truth_row(flawed)[FACE]) == (1, 0)


def test_spoiling_a_face_outside_the_picture_changes_nothing() -> None:
    picture = np.asarray(draw(HERO, 1))
    assert (spoil(picture, (-90.0, 40.0, 20.0), "blur", random.Random(1)) == picture).all()


def test_hero_scenes_have_flaws_and_two_heroes_now_and_then() -> None:
    scenes = [random_hero_scene(random.Random(seed)) for seed in range(300)]
    assert {person.flaw for scene in scenes for person in scene.people} == {None, *FLAWS}
    assert {sum(person.aldar for person in scene.people) for scene in scenes} == {0, 1, 2}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_classifier_reads_every_shape(shape: str) -> None:
    width, height = SHAPES[shape]
    answers = Classifier()(to_pixels(torch.zeros(2, height, width, 3, dtype=torch.uint8)))
    assert [tuple(answer.shape) for answer in answers] == [(2, len(values)) for values in HEADS.values()]
