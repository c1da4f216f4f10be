"""Where the hero is: the attention to his trigger word, his box, and what is stored of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image

from models.diffusion.hero import hero_of
from models.diffusion.loading import Models, load, unload
from models.diffusion.painter import paint
from models.frames import likeness
from models.painters.painter import Shown
from models.profiles import PROFILES, STEPPE, Profile
from models.scores import Hero, Likeness, Scores
from models.sizes import Size
from models.storage.content_store import Store, content_key
from models.vision.likeness import encoder_fingerprint

tiny_world = tiny_models.tiny_world
WIDE = Size(120, 72)
TRIGGER = "aldar"


@pytest.fixture
def models(tiny_world: Profile) -> Models:
    return load(tiny_models.setup(with_controlnet=True))


def bytes_of(paintings: Any) -> list[bytes]:
    return [painting.image.tobytes() for painting in paintings]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("size", [Size.square(64), WIDE])
@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "LCM"])
def test_looking_for_the_hero_changes_no_pixel(models: Models, guidance: float, size: Size, sampler: str) -> None:
    plain = [tiny_models.request(seed, size=size, guidance=guidance, sampler=sampler) for seed in (1, 2)]
    looking = [request.model_copy(update={"trigger": TRIGGER}) for request in plain]
    seen = paint(models, looking)
    assert bytes_of(seen) == bytes_of(paint(models, plain))
    assert [type(painting.hero) for painting in seen] == [Hero, Hero]
    assert [painting.hero for painting in paint(models, plain)] == [None, None]


def test_a_guided_frame_is_looked_at_too(models: Models, tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / "lines.png")
    plain = tiny_models.request(control=tiny_models.control(tmp_path / "lines.png"))
    (seen,) = paint(models, [plain.model_copy(update={"trigger": TRIGGER})])
    assert seen.hero is not None
    assert bytes_of([seen]) == bytes_of(paint(models, [plain]))


def test_each_picture_of_a_batch_has_its_own_word(models: Models) -> None:
    with_him = tiny_models.request(1, trigger=TRIGGER)
    without = tiny_models.request(2, trigger=TRIGGER, prompt="a yurt")
    first, second = paint(models, [with_him, without])
    assert first.hero is not None
    assert "even" in first.hero.why or first.hero.found
    assert second.hero == Hero(found=False, why="his trigger word is not in the prompt")


def test_nothing_is_evaluated_for_a_prompt_without_the_word(models: Models) -> None:
    calls: list[int] = []
    handle = models.plain.unet.register_forward_hook(lambda *_: calls.append(1))
    try:
        paint(models, [tiny_models.request(trigger=TRIGGER, prompt="a yurt")])
        without = len(calls)
        paint(models, [tiny_models.request(trigger=TRIGGER)])
    finally:
        handle.remove()
    assert (without, len(calls) - without) == (3, 4)


def test_no_hook_stays_on_the_unet(models: Models) -> None:
    paint(models, [tiny_models.request(trigger=TRIGGER)])
    left = [name for name, part in models.plain.unet.named_modules() if part._forward_hooks or part._forward_pre_hooks]
    assert left == []


def spot(rows: slice, columns: slice, height: float = 8.0) -> torch.Tensor:
    found = torch.full((64, 64), 0.8)
    found[rows, columns] = height
    return found


def test_the_box_is_around_the_strongest_part_with_a_margin() -> None:
    found = spot(slice(16, 48), slice(8, 24))
    found[40:44, 50:54] = 3.0
    hero = hero_of(found, Size.square(256))
    assert hero.found
    assert hero.box is not None
    left, upper, right, lower = hero.box
    assert (16 <= left <= 32, 96 <= right <= 112) == (True, True)
    assert (8 <= upper <= 32, 192 <= lower <= 216) == (True, True)


def test_a_box_is_in_the_pixels_of_a_wide_picture() -> None:
    found = torch.full((36, 60), 0.5)
    found[4:32, 40:56] = 9.0
    hero = hero_of(found, Size(240, 144))
    assert hero.box is not None
    assert hero.box[0] > 140
    assert hero.box[2] <= 240
    assert hero.box[3] <= 144


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, "not in the prompt"),
        (torch.ones(64, 64), "even"),
        (spot(slice(0, 64), slice(0, 60), 4.0), "of the picture"),
        (torch.full((64, 64), float("nan")), "not finite"),
    ],
)
def test_where_he_is_not_found_the_record_says_why(found: torch.Tensor | None, why: str) -> None:
    hero = hero_of(found, Size.square(256))
    assert (hero.found, hero.box) == (False, None)
    assert why in hero.why


def test_scores_of_earlier_versions_are_read_and_have_no_hero(tmp_path: Path) -> None:
    store, key = Store(tmp_path), content_key("pictures", frame=1)
    png = b"a picture"
    store.put_picture(key, png, seed=1, scores=Scores(consistency=0.5, prompt=0.3))
    (entry,) = tmp_path.glob("pictures/*/*.json")
    stored = json.loads(entry.read_text())
    for name in ("hero", "likeness"):
        del stored["record"]["scores"][name]
    entry.write_text(json.dumps(stored))
    again = store.get_picture(key)
    assert again is not None
    assert (again.scores.consistency, again.scores.hero, again.scores.likeness) == (0.5, None, None)


def test_a_box_comes_back_from_the_store(tmp_path: Path) -> None:
    store, key = Store(tmp_path), content_key("pictures", frame=1)
    alike = Likeness(crop=0.9, around=0.4, measured_by="clip")
    scores = Scores(consistency=0.5, prompt=0.3, hero=Hero(found=True, box=(1, 2, 30, 40)), likeness=alike)
    store.put_picture(key, b"a picture", seed=1, scores=scores)
    again = store.get_picture(key)
    assert again is not None
    assert again.scores == scores


def test_all_pictures_that_he_was_trained_on_are_looked_at() -> None:
    from steppe.aldar import PICTURES
    from steppe.same import pictures_in

    pictures = pictures_in("images")
    assert len(pictures) == PICTURES
    assert all(STEPPE.trigger in caption for _, caption in pictures)


def test_steppe_finds_aldar_where_he_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from steppe.easel import Easel
    from steppe.same import Lineup, box_figures
    from steppe.validation_scenes import aldars

    monkeypatch.setitem(PROFILES, "steppe", STEPPE)  # so that it comes back
    lineup = Lineup(Easel(Path(STEPPE.base.source), "cpu", 1), 8)
    found, inside, _ = (figure.value or 0 for figure in box_figures(lineup))
    assert found == 100
    assert inside >= 87.5
    lineup.looked.clear()
    on_the_right = [case for case in aldars(100) if case.scene.people[-1].aldar and len(case.scene.people) == 2]
    lineup.cases = on_the_right[:8]
    overlap = box_figures(lineup)[-1].value or 0
    unload()
    assert overlap > 0.6  # about 0.5 where all of the word's tokens count: the box then holds both people


def test_a_likeness_is_measured_again_only_after_a_change(tiny_world: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    from written_boards import render_config_of

    from models.settings import StoryboardOptions

    encoder = encoder_fingerprint(tiny_world)
    config = render_config_of(StoryboardOptions(profile="tiny")).model_copy(update={"encoder": encoder})
    hero = Hero(found=True, box=(8, 8, 40, 56))
    rng = np.random.default_rng(0)
    first, second = (Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for _ in range(2))
    fresh = Scores(consistency=0.4, prompt=0.3, hero=hero)
    measured = likeness.brought_up(fresh, Shown(second, hero), Shown(first, hero), config)
    assert measured.likeness is not None
    assert measured.likeness.crop is not None
    assert -1 <= measured.likeness.crop < 1
    monkeypatch.setattr(likeness, "likeness_of", lambda *_: pytest.fail("measured again"))
    assert likeness.brought_up(measured, Shown(second, hero), Shown(first, hero), config) is measured
    unsought = Scores(consistency=0.4, prompt=0.3)
    assert likeness.brought_up(unsought, Shown(second, None), Shown(first, hero), config).likeness is None


@pytest.mark.gpu
@pytest.mark.parametrize("speed", ["plain", "exact"])
def test_on_a_gpu_graphs_and_kernels_paint_the_same_and_find_him(speed: str) -> None:
    from models.diffusion.requests import PaintRequest
    from models.s3.adapters import fetch_adapter
    from models.secrets.keys import Keys

    adapter = fetch_adapter(str(STEPPE.adapter), cache_dir=Path("outputs"), keys=Keys())
    setup = tiny_models.setup(device="cuda", speed=speed).model_copy(update={"profile": STEPPE, "adapter": adapter})
    prompt = "aldar_kose_man stands, middle shot, in the steppe, by day"
    own = {"prompt": prompt, "negative_prompt": "", "size": 256, "steps": 12, "guidance": 3.0, "control": None}
    plain = [PaintRequest.model_validate({**own, "seed": seed}) for seed in (1, 2)]
    looking = [request.model_copy(update={"trigger": STEPPE.trigger}) for request in plain]
    models = load(setup)
    paint(models, plain)  # the first painting of a kind records no graph
    seen = paint(models, looking)
    assert bytes_of(seen) == bytes_of(paint(models, plain))
    assert [painting.hero is not None and painting.hero.found for painting in seen] == [True, True]
    unload()
