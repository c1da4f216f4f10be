"""Scores, anomalies and the gate, on drawn pictures and a tiny CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image, ImageChops, ImageDraw, ImageOps

from models import profiles
from models.errors import InputError, ScoreUnavailable, WeightsInvalid
from models.records import Candidate
from models.scores import Scores
from models.vision import clip
from models.vision.anomalies import find_copies, find_flaws
from models.vision.gate import best, judge

tiny_world = tiny_models.tiny_world


def scene(arm: str = "down", *, size: int = 256, person: int = 120) -> Image.Image:
    """A rider's steppe: sky, sun, hills, and a person whose arm is up or down."""
    image = Image.new("RGB", (256, 256), (150, 190, 230))
    pen = ImageDraw.Draw(image)
    pen.ellipse((190, 20, 230, 60), fill=(250, 220, 90))
    pen.polygon([(0, 150), (70, 90), (140, 150)], fill=(120, 130, 110))
    pen.rectangle((0, 150, 256, 256), fill=(110, 160, 70))
    pen.rectangle((person, 120, person + 40, 210), fill=(190, 50, 40))
    pen.ellipse((person + 5, 90, person + 35, 120), fill=(220, 180, 150))
    end = (person + 70, 100) if arm == "up" else (person + 60, 180)
    pen.line([(person + 36, 135), end], fill=(190, 50, 40), width=12)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def noise(grain: int = 1) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (256 // grain, 256 // grain, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((256, 256), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("size", [64, 256, 512])
def test_a_picture_of_something_has_no_anomaly(size: int) -> None:
    assert find_flaws(scene(size=size), True) == ()


WIDE, TALL = (336, 192), (192, 336)


@pytest.mark.parametrize("size", [WIDE, TALL, (1344, 768), (1536, 640)])
def test_a_picture_of_another_shape_is_judged_by_the_same_limits(size: tuple[int, int]) -> None:
    image, spoilt = ImageOps.fit(scene(), size), ImageOps.fit(noise(grain=4), size)
    assert find_flaws(image, True) == ()
    assert "noise" in find_flaws(spoilt, True)[0]
    assert "near copy of earlier frame 2" in find_copies(shifted(image, 2), [ImageOps.mirror(image), image])[0]
    assert find_copies(ImageOps.fit(scene("up"), size), [image]) == ()


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (Image.new("RGB", (256, 256), (90, 120, 90)), "empty"),
        (Image.new("RGB", (256, 256), (4, 4, 4)), "black"),
        (noise(), "noise"),
        (noise(grain=4), "noise"),
        (Image.blend(scene(), noise(), 0.4), "noise"),
        (scene().point(lambda value: 255 if value > 60 else 0), "out of range"),
    ],
)
def test_what_is_wrong_is_said_with_number_and_limit(image: Image.Image, word: str) -> None:
    (finding,) = find_flaws(image, True)
    assert word in finding
    assert "the limit is" in finding
    assert any(character.isdigit() for character in finding)


def test_numbers_that_are_not_finite_are_the_whole_finding() -> None:
    assert find_flaws(scene(), False) == ("the picture is broken: the model gave numbers that are not finite",)


def shifted(image: Image.Image, by: int) -> Image.Image:
    return ImageChops.offset(image, by, by)


@pytest.mark.parametrize(
    "copy",
    [
        scene(),
        shifted(scene(), 2),
        shifted(scene(), 4),
        scene().point(lambda value: min(255, round(value * 1.05))),
        scene().resize((250, 250)).resize((256, 256)),
    ],
    ids=["same", "shifted by 2 px", "shifted by 4 px", "brighter", "resized"],
)
def test_a_near_copy_names_the_frame_it_copies(copy: Image.Image) -> None:
    (finding,) = find_copies(copy, [scene(person=20), scene()])
    assert "near copy of earlier frame 2" in finding


@pytest.mark.parametrize("other", [scene("up"), scene(person=40), scene(person=100)])
def test_one_background_and_one_person_do_not_make_a_copy(other: Image.Image) -> None:
    assert find_copies(other, [scene()]) == ()


def test_the_gate_passes_a_score_at_its_threshold() -> None:
    scores = Scores(consistency=0.7, prompt=0.2)
    assert judge(scores, consistency_threshold=0.7, prompt_threshold=0.2) == (True, ())


def test_the_gate_names_score_and_threshold() -> None:
    scores = Scores(consistency=0.61, prompt=0.1996, anomalies=("the picture is black",))
    accepted, reasons = judge(scores, consistency_threshold=0.70, prompt_threshold=0.2)
    assert not accepted
    assert reasons == (
        "image similarity 0.61 is under 0.70",
        "text–image similarity 0.1996 is under 0.2000",
        "the picture is black",
    )


def test_frame_1_has_no_likeness_to_judge() -> None:
    assert judge(Scores(consistency=None, prompt=0.3), consistency_threshold=1.0, prompt_threshold=0.2)[0]


def test_a_score_that_is_not_a_number_does_not_pass() -> None:
    nan = float("nan")
    accepted, reasons = judge(Scores(consistency=nan, prompt=nan), consistency_threshold=-1.0, prompt_threshold=-1.0)
    assert not accepted
    assert len(reasons) == 2


def candidate(
    attempt: int, similarity: float | None, prompt: float, *, accepted: bool = False, anomalies: int = 0
) -> Candidate:
    scores = Scores(consistency=similarity, prompt=prompt, anomalies=("odd",) * anomalies)
    return Candidate(
        attempt=attempt, seed=attempt, file=f"{attempt}.png", sha256=str(attempt), scores=scores, accepted=accepted
    )


def test_the_best_candidate_is_chosen_by_the_written_rule() -> None:
    accepted = candidate(3, 0.5, 0.2, accepted=True)
    clean, odd = candidate(1, 0.4, 0.1), candidate(0, 0.9, 0.9, anomalies=1)
    higher, later = candidate(2, 0.45, 0.1), candidate(4, 0.45, 0.1)
    assert best([odd, clean, higher, later, accepted]) is accepted
    assert best([odd, later, clean, higher]) is higher
    assert best([odd, clean]) is clean
    assert best([candidate(0, None, 0.1), candidate(1, None, 0.2)]).attempt == 1
    with pytest.raises(ValueError, match="no candidate"):
        best([])


@pytest.fixture
def scorer(tiny_world: profiles.Profile) -> clip.ClipScorer:
    return clip.load_scorer(tiny_world, "cpu")


def test_features_are_projected_unit_vectors(scorer: clip.ClipScorer) -> None:
    features = scorer.image_features([scene(), noise()])
    assert features.shape == (2, scorer.model.config.projection_dim)
    assert torch.allclose(features.norm(dim=-1), torch.ones(2))
    assert scorer.text_features("a yurt").shape == (1, scorer.model.config.projection_dim)


def test_scores_are_the_cosines_that_clip_itself_computes(scorer: clip.ClipScorer) -> None:
    image, text = scene(), "aldar in a yurt"
    inputs = {
        **scorer.processor(images=[image, noise()], return_tensors="pt"),
        **scorer.tokenizer(text, return_tensors="pt"),
    }
    with torch.inference_mode():
        output = scorer.model(**inputs)
    agreement = float(output.logits_per_image[0, 0] / scorer.model.logit_scale.exp())
    similarity = float(output.image_embeds[0] @ output.image_embeds[1])
    assert scorer.scores(image, text, noise()) == pytest.approx((similarity, agreement), abs=1e-5)
    alone, own = scorer.scores(image, text)
    assert alone is None
    assert own == pytest.approx(agreement, abs=1e-5)
    assert scorer.similarity(image, noise()) == pytest.approx(similarity, abs=1e-5)
    assert scorer.similarity(image, image) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("size", "end"), [(WIDE, (0, 0, 40, 192)), (TALL, (0, 296, 192, 336))])
def test_clip_sees_the_ends_of_a_picture_and_does_not_squash_it(
    scorer: clip.ClipScorer, size: tuple[int, int], end: tuple[int, int, int, int]
) -> None:
    image = ImageOps.fit(scene(), size)
    marked = image.copy()
    marked.paste((255, 0, 0), end)
    assert scorer.similarity(image, marked) < 0.9999
    side = max(size)
    square = Image.new("RGB", (side, side), tuple(round(255 * mean) for mean in scorer.processor.image_mean))
    square.paste(image, ((side - size[0]) // 2, (side - size[1]) // 2))
    assert torch.equal(scorer.image_features([image]), scorer.image_features([square]))


def test_a_long_prompt_keeps_its_trigger(scorer: clip.ClipScorer) -> None:
    words = ["steppe"] * 40 + [scorer.trigger]
    short = scorer.shorten(" ".join(words)).split()
    assert short[-1] == scorer.trigger
    assert set(short[:-1]) == {"steppe"}
    assert len(scorer.tokenizer(" ".join(short)).input_ids) <= 77
    assert scorer.shorten("aldar rides") == "aldar rides"
    assert -1 <= scorer.scores(scene(), " ".join(words))[1] <= 1


def test_a_score_that_cannot_be_computed_is_an_error(scorer: clip.ClipScorer) -> None:
    weight = scorer.model.visual_projection.weight
    clean = weight.clone()
    weight.data.fill_(float("nan"))
    try:
        with pytest.raises(ScoreUnavailable, match="not finite"):
            scorer.similarity(scene(), scene())
    finally:
        weight.data.copy_(clean)


def test_features_before_the_projection_are_refused(scorer: clip.ClipScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    def unprojected(pixel_values: torch.Tensor) -> object:
        return scorer.model.vision_model(pixel_values)

    monkeypatch.setattr(scorer.model, "get_image_features", unprojected)
    with pytest.raises(ScoreUnavailable, match="16 features, its projection has 12"):
        scorer.image_features([scene()])


def test_the_scorer_is_loaded_once_and_refuses_what_is_not_there(tiny_world: profiles.Profile, tmp_path: Path) -> None:
    assert clip.load_scorer(tiny_world, "cpu") is clip.load_scorer(tiny_world, "cpu")
    with pytest.raises(WeightsInvalid, match="clip: no such folder"):
        clip.load_scorer(tiny_models.profile(tmp_path, "gone"), "cpu")
    with pytest.raises(InputError, match="device 'cuda:7' is not on this machine; there is: cpu"):
        clip.load_scorer(tiny_world, "cuda:7")
    clip.unload_scorer()
