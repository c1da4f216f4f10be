"""Calibrating a character: thresholds from pictures, the flow, the command line, and a storyboard judged by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from flow_runs import Ran, Stage
from PIL import Image, ImageDraw
from redo_runs import refused
from tiny_loras import lora_by_part, save_checkpoint

from flows.calibrate import calibrate_hero
from flows.commands.calibrate import parse
from models.calibration.options import CalibrationOptions
from models.errors import InputError, WeightsInvalid
from models.frames.likeness import calibrated
from models.profiles import Profile
from models.records import Adapter
from models.scores import Bounds, Hero
from models.storage.adapters import calibration_file
from models.storage.files import fingerprint
from models.vision.anomalies import find_copies
from models.vision.calibrating import Pair, area, calibrate, copies_of, curve_of
from models.vision.gate import judge
from models.vision.likeness import Calibration, Seen, encoder_fingerprint, likeness, read_calibration, see

tiny_world = tiny_models.tiny_world
HIS, OTHER = (200, 40, 40), (40, 60, 200)


def unit(values: Any) -> Any:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def side(middle: int, count: int, spread: float, seed: int) -> list[Seen]:
    """Pictures whose crops and heads lie around one axis."""
    rng = np.random.default_rng(seed)
    rows = unit(np.eye(16)[middle] + spread * rng.normal(size=(count, 3, 16)))
    return [Seen(*row) for row in rows]


COPIES = [Pair(0.97 + 0.0002 * n, 0.95 + 0.0004 * n) for n in range(100)]


def test_others_score_under_the_bound_and_he_above() -> None:
    made = calibrate(side(0, 40, 0.1, 1), side(1, 60, 0.1, 2), COPIES, trigger="aldar", encoder="e")
    assert made.auc == 1.0
    assert made.caught == 1.0
    assert made.false_alarms <= 0.1
    assert np.mean([made.score(seen) for seen in side(0, 20, 0.1, 3)]) == pytest.approx(1.0, abs=0.1)
    assert np.mean([made.score(seen) for seen in side(1, 20, 0.1, 4)]) == pytest.approx(0.0, abs=0.1)
    assert 0.9 <= made.copies_caught <= 1.0
    assert made.copies_false <= 0.005
    assert made.bounds.calibrated


@pytest.mark.parametrize("part", ["crop", "head"])
def test_another_head_or_robe_is_enough_to_be_another(part: str) -> None:
    made = calibrate(side(0, 40, 0.1, 1), side(1, 60, 0.1, 2), COPIES, trigger="aldar", encoder="e")
    for his, other in zip(side(0, 20, 0.1, 3), side(1, 20, 0.1, 4), strict=True):
        assert made.score(his._replace(**{part: getattr(other, part)})) < made.bounds.least


def test_people_who_look_the_same_have_no_area() -> None:
    made = calibrate(side(0, 40, 0.3, 1), side(0, 40, 0.3, 2), COPIES, trigger="aldar", encoder="e")
    assert 0.25 < made.auc < 0.75


def test_the_curve_goes_from_nothing_to_everything_and_its_area_is_the_auc() -> None:
    rng = np.random.default_rng(0)
    own, strange = rng.normal(1, 0.5, 60), rng.normal(0, 0.5, 80)
    curve = curve_of(own, strange)
    assert (curve[0], curve[-1]) == ((0.0, 0.0), (1.0, 1.0))
    kept, passes = np.array(curve).T
    assert float(np.trapezoid(kept, passes)) == pytest.approx(area(own, strange), abs=1e-9)


@pytest.mark.parametrize(("his", "others"), [(3, 9), (9, 3)])
def test_too_few_pictures_are_refused(his: int, others: int) -> None:
    with pytest.raises(InputError, match="4 are needed"):
        calibrate(side(0, his, 0.1, 1), side(1, others, 0.1, 2), COPIES, trigger="aldar", encoder="e")


def test_two_sides_that_are_equal_are_refused() -> None:
    same = side(0, 8, 0.1, 1)
    with pytest.raises(InputError, match="look the same"):
        calibrate(same, same, COPIES, trigger="aldar", encoder="e")


def test_a_copys_box_moves_with_its_hero() -> None:
    image = Image.new("RGB", (80, 60), "white")
    ImageDraw.Draw(image).rectangle((10, 20, 29, 49), fill=HIS)
    for copy, hero in copies_of(image, Hero(found=True, box=(10, 20, 30, 50))):
        assert hero.box is not None
        inside = np.asarray(copy.crop(hero.box).convert("RGB"), dtype=int)
        assert (np.abs(inside - HIS).sum(axis=-1) < 90).mean() > 0.8
        assert copy.size == image.size


BOUNDS = Bounds(least=0.5, most=0.9, most_around=0.8)


@pytest.mark.parametrize(
    ("crop", "around", "word"),
    [(0.95, 0.5, None), (0.7, 0.95, None), (0.95, 0.9, "near copy of earlier frame 1"), (0.4, 0.2, "under 0.50")],
)
def test_a_hero_is_judged_from_below_and_a_copy_by_both_bounds(crop: float, around: float, word: str | None) -> None:
    from models.scores import Likeness, Scores

    alike = Likeness(crop=crop, around=around, measured_by="clip")
    image = Image.new("RGB", (64, 64))
    scores = Scores(consistency=0.0, prompt=1.0, likeness=alike, anomalies=find_copies(image, [], alike, BOUNDS))
    accepted, reasons = judge(scores, consistency_threshold=0.9, prompt_threshold=0.0, bounds=BOUNDS)
    assert accepted == (word is None)
    assert word is None or word in reasons[0]


def test_without_a_hero_the_whole_picture_is_judged() -> None:
    from models.scores import Scores

    scores = Scores(consistency=0.6, prompt=1.0, hero=Hero(found=False, why="even"))
    assert judge(scores, consistency_threshold=0.5, prompt_threshold=0.0, bounds=BOUNDS)[0]
    assert not judge(scores, consistency_threshold=0.7, prompt_threshold=0.0, bounds=BOUNDS)[0]


def pictures(folder: Path, colour: tuple[int, int, int], count: int) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(folder.name))
    for n in range(count):
        noise = rng.integers(-30, 30, (64, 64, 3)) + np.array(colour)
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / f"{n}.png")
    return folder


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    folder = tmp_path / "lora"
    save_checkpoint(folder, lora_by_part(tiny_models.pipeline()))
    return folder


def run(folder: Path, others: Path | None, lora: Path) -> Ran:
    given = {"others": str(others) if others else None, "lora_path": str(lora), "profile": "tiny", "device": "cpu"}
    state = calibrate_hero(str(folder), CalibrationOptions.model_validate(given), return_state=True)
    return Ran(state, lora)


@pytest.mark.usefixtures("prefect_server")
def test_a_character_is_calibrated_and_his_storyboard_is_judged_by_it(
    tiny_world: Profile,
    stage: Stage,
    lora: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = fingerprint(lora)
    assert stage.run(frames=2, lora_path=str(lora)).painted == [1, 1]
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("STORYBOARD_PAINTERS", "127.0.0.1:1")
        ran = run(pictures(tmp_path / "his", HIS, 6), pictures(tmp_path / "others", OTHER, 7), lora)
    assert any("the painters at 127.0.0.1:1 are not asked" in record.getMessage() for record in caplog.records)
    assert ran.board == lora / "hero.json"
    made = read_calibration(lora / "hero.json", tiny_world)
    assert (made.his, made.others, made.trigger) == (6, 7, tiny_world.trigger)
    with Image.open(lora / "hero.png") as curve:
        assert curve.format == "PNG"
    page = str(ran.artifacts()["calibration"].data)
    assert "data:image/png;base64," in page
    assert f"| area under the ROC | {made.auc:.3f} |" in page
    assert "| pictures of him; in how many he was found | 6; 0 |" in page  # a random model's attention is even
    assert fingerprint(lora) == before

    caplog.clear()
    told = stage.run(frames=2, lora_path=str(lora))
    assert told.painted == [0, 0]  # calibrating paints nothing anew
    assert told.report.render_config is not None
    assert told.report.render_config.calibration == str(lora / "hero.json")
    assert told.report.render_config.bounds == made.bounds
    assert any("the hero is judged by" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("no others", "--others is needed"),
        ("empty", "holds no pictures"),
        ("one", "1 different pictures, at least 4 are needed"),
        ("identical", "1 different pictures, at least 4 are needed"),
        ("corrupt", "2.png: "),
        ("absent", "no folder"),
    ],
)
def test_bad_pictures_fail_in_one_line(
    what: str, line: str, prefect_server: str, tiny_world: Profile, lora: Path, tmp_path: Path
) -> None:
    his, others = pictures(tmp_path / "his", HIS, 5), tmp_path / "others"
    pictures(others, OTHER, {"empty": 0, "one": 1}.get(what, 5))
    if what == "identical":
        for n in range(5):
            Image.new("RGB", (64, 64), OTHER).save(others / f"{n}.png")
    if what == "corrupt":
        (others / "2.png").write_bytes((others / "2.png").read_bytes()[:200])
    named = {"no others": None, "absent": tmp_path / "none"}.get(what, others)
    assert line in refused(run(his, named, lora))
    assert not calibration_file(lora).exists()


def test_a_lora_in_s3_is_refused_with_the_way_out() -> None:
    options = CalibrationOptions(others="others", lora_path="s3://bucket/aldar")
    with pytest.raises(InputError, match=r"hero\.json is written beside it"):
        options.painting()


def test_a_broken_or_foreign_calibration_is_refused_by_name(tiny_world: Profile, tmp_path: Path) -> None:
    file = tmp_path / "hero.json"
    file.write_text("{}")
    with pytest.raises(WeightsInvalid, match=r"hero\.json: no calibration"):
        calibrated(BOUNDS, Adapter(path=str(tmp_path), fingerprint="f", source="lora"))
    made = calibrate(side(0, 8, 0.1, 1), side(1, 8, 0.1, 2), COPIES, trigger="aldar", encoder="another")
    file.write_text(made.model_dump_json())
    with pytest.raises(WeightsInvalid, match="another encoder"):
        read_calibration(file, tiny_world)


def test_a_given_threshold_stays_and_upper_bounds_come_from_the_calibration(tmp_path: Path) -> None:
    made = calibrate(side(0, 8, 0.1, 1), side(1, 8, 0.1, 2), COPIES, trigger="aldar", encoder="e")
    (tmp_path / "aldar.hero.json").write_text(made.model_dump_json())
    (tmp_path / "aldar.safetensors").touch()
    adapter = Adapter(path=str(tmp_path / "aldar.safetensors"), fingerprint="f", source="lora")
    given = Bounds(least=0.25, most=2.0, most_around=2.0, given=True)
    bounds, file = calibrated(given, adapter)
    assert (bounds.least, bounds.calibrated, bounds.most) == (0.25, False, made.bounds.most)
    assert file == str(tmp_path / "aldar.hero.json")
    assert calibrated(given, None) == (given, None)


def test_dinov2_compares_crops_where_the_profile_names_one(tiny_world: Profile, tmp_path: Path) -> None:
    from models.vision.dino import DinoEncoder
    from models.vision.likeness import encoder_of

    own = tiny_world.model_copy(update={"dino": tiny_models.tiny_dino(tmp_path)})
    encoder = encoder_of(own, "cpu")
    assert isinstance(encoder, DinoEncoder)
    image = Image.effect_noise((64, 48), 90).convert("RGB")
    first, second = see(encoder, [(image, Hero(found=True, box=(4, 4, 40, 40))), (image, None)])
    assert first.crop.shape == (16,)
    alike = likeness(first, first, None, encoder_fingerprint(own))
    assert alike.crop == pytest.approx(1.0)
    assert float(first.crop @ second.crop) < 0.9999
    assert encoder_fingerprint(own) != encoder_fingerprint(tiny_world)


def test_the_command_takes_two_folders() -> None:
    asked = parse(["his", "--others", "theirs", "--profile", "sdxl", "--lora-path", "aldar"])
    assert (asked.folder, asked.options.others, asked.options.lora_path) == ("his", "theirs", "aldar")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "two folders are needed"),
        (["his"], "two folders are needed"),
        (["his", "more", "--others", "x"], "only one folder"),
        (["his", "--other", "x"], "unknown option --other"),
    ],
)
def test_a_wrong_command_line_ends_with_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert line in said
    assert said.count("\n") == 1


def test_a_calibration_is_small_json(tmp_path: Path) -> None:
    made = calibrate(side(0, 8, 0.1, 1), side(1, 8, 0.1, 2), COPIES, trigger="aldar", encoder="e")
    assert Calibration.model_validate(json.loads(made.model_dump_json())) == made
    assert len(made.model_dump_json()) < 20_000


def test_a_missing_dinov2_is_found_before_anything_is_painted(tiny_world: Profile, tmp_path: Path) -> None:
    from models.preflight.components import find_component_problems
    from models.settings import StoryboardOptions
    from models.sources import Component

    own = tiny_world.model_copy(update={"dino": Component(source=str(tmp_path / "dino"), size=0)})
    (problem,) = find_component_problems(StoryboardOptions(profile="tiny"), own)
    assert "dino is missing or incomplete" in problem
