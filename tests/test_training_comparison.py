"""Checkpoints are measured by cosines and chosen by one rule: here with features made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from models.errors import ScoreUnavailable
from models.lora.comparison.choice import (
    MOST_DRIFT,
    NO_DRIFT,
    RULE,
    Measured,
    PaintedFeatures,
    References,
    Yardstick,
    choose,
    find_failures,
    get_references,
    measure,
    thin_evenly,
)
from models.lora.comparison.scores import (
    Features,
    contrast,
    drift,
    image_similarity,
    spread,
    text_image_similarity,
    variety,
)

REFERENCES = References(image_similarity=0.6, text_image_similarity=0.25, variety=0.2)


def row(step: int = 100, **changes: float | None) -> Measured:
    """A checkpoint that reaches every bar."""
    plain = {"image_similarity": 0.8, "text_image_similarity": 0.24, "variety": 0.15, "drift": 0.1, "broken": 0}
    return Measured(step=step, **{**plain, **changes})  # type: ignore[arg-type]


def turned(degrees: float, plane: int = 0) -> Features:
    """A unit vector of 8 features, turned from the first axis towards another one."""
    vector = np.zeros(8, dtype=np.float32)
    vector[0], vector[1 + plane] = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return vector


def cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def test_likeness_is_to_the_mean_of_the_training_pictures() -> None:
    training = np.stack([turned(-20), turned(20)])
    assert image_similarity(np.stack([turned(0)]), training) == pytest.approx(1.0, abs=1e-6)
    assert image_similarity(np.stack([turned(0), turned(60)]), training) == pytest.approx((1 + 0.5) / 2, abs=1e-6)


def test_agreement_pairs_each_picture_with_its_own_prompt() -> None:
    painted = np.stack([[turned(0), turned(60)], [turned(90), turned(90)]])
    prompts = np.stack([turned(0), turned(90)])
    assert text_image_similarity(painted, prompts) == pytest.approx((1 + 0.5 + 1 + 1) / 4, abs=1e-6)
    assert text_image_similarity(painted, prompts[::-1]) < 0.5


def test_spread_is_over_all_pairs() -> None:
    pictures = np.stack([turned(0), turned(30), turned(60)])
    assert spread(pictures) == pytest.approx(1 - (2 * cosine(30) + cosine(60)) / 3, abs=1e-6)
    assert spread(np.stack([turned(10)] * 3)) == pytest.approx(0, abs=1e-6)


def test_variety_is_between_prompts_and_not_between_seeds() -> None:
    one_picture_a_seed = np.stack([[turned(0), turned(90)], [turned(0), turned(90)]])
    assert variety(one_picture_a_seed) == pytest.approx(0, abs=1e-6)
    one_picture_a_prompt = np.stack([[turned(0), turned(0)], [turned(90), turned(90)]])
    assert variety(one_picture_a_prompt) == pytest.approx(1, abs=1e-6)


PROMPTS = np.stack([turned(0), turned(90)])
"""Of two texts that have nothing in common."""


def test_drift_is_the_share_of_the_bases_contrast_that_is_gone() -> None:
    base = np.stack([[turned(0), turned(0)], [turned(90), turned(90)]])
    assert contrast(base, PROMPTS) == pytest.approx(1, abs=1e-6)
    assert drift(base, base, PROMPTS) == 0
    blurred = np.stack([[turned(0), turned(30)], [turned(90), turned(60)]])
    lead = (1 + cosine(30) - cosine(60)) / 2
    assert drift(blurred, base, PROMPTS) == pytest.approx(1 - lead, abs=1e-6)
    assert drift(base, blurred, PROMPTS) == pytest.approx(1 - 1 / lead, abs=1e-6)
    assert drift(base[::-1], base, PROMPTS) == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("degrees", [0, 45, 70, 180])
def test_one_picture_for_all_prompts_is_a_loss_of_one(degrees: float) -> None:
    base = np.stack([[turned(10)], [turned(50)], [turned(80)]])
    prompts = np.stack([turned(0), turned(45), turned(90)])
    assert drift(np.stack([[turned(degrees)]] * 3), base, prompts) == pytest.approx(1, abs=1e-6)


def test_what_all_pictures_have_in_common_is_no_loss() -> None:
    base = np.stack([[turned(0)], [turned(90)]]) * 0.8
    style = np.zeros(8)
    style[5] = 0.6
    assert drift(base + style, base, PROMPTS + style) == pytest.approx(0, abs=1e-6)


def test_where_the_base_does_not_follow_the_prompts_drift_is_not_measured() -> None:
    same, swapped = np.stack([[turned(45)]] * 2), np.stack([[turned(90)], [turned(0)]])
    for base in (same, swapped, np.stack([[turned(44)], [turned(46)]])):
        assert drift(np.stack([[turned(0)], [turned(90)]]), base, PROMPTS) is None
    hardly = np.stack([[turned(42)], [turned(48)]])
    assert contrast(hardly, PROMPTS) == pytest.approx(0.074, abs=1e-3)
    assert drift(hardly, hardly, PROMPTS) == 0
    alike = np.stack([turned(0)] * 2)
    assert drift(hardly, hardly, alike) is None


def test_drift_takes_two_prompts() -> None:
    with pytest.raises(ScoreUnavailable, match="two of them, there is 1"):
        drift(np.stack([[turned(0)]]), np.stack([[turned(0)]]), PROMPTS[:1])


def test_what_cannot_be_measured_is_an_error() -> None:
    lost = np.full((2, 2, 8), np.nan, dtype=np.float32)
    whole = np.stack([[turned(0), turned(30)], [turned(60), turned(90)]])
    with pytest.raises(ScoreUnavailable, match="image similarity came out as nan"):
        image_similarity(lost[0], whole[0])
    with pytest.raises(ScoreUnavailable, match="text–image similarity came out as nan"):
        text_image_similarity(lost, whole[0])
    with pytest.raises(ScoreUnavailable, match="variety came out as nan"):
        variety(lost)
    with pytest.raises(ScoreUnavailable, match="drift came out as nan"):
        drift(lost, whole, PROMPTS)
    with pytest.raises(ScoreUnavailable, match="drift came out as nan"):
        drift(whole, lost, PROMPTS)
    with pytest.raises(ScoreUnavailable, match="two of them, there is 1"):
        spread(whole[0][:1])
    with pytest.raises(ScoreUnavailable, match="cancel each other out"):
        image_similarity(whole[0], np.stack([turned(0), turned(180)]))


def painted(degrees: tuple[float, ...], lost: float = 0) -> PaintedFeatures:
    """One seed of each prompt, and of two unrelated ones, whose pictures came so many degrees closer to each other."""
    character = np.stack([[turned(angle)] for angle in degrees])
    return PaintedFeatures(character=character, unrelated=np.stack([[turned(lost)], [turned(90 - lost)]]))


def test_a_lora_that_paints_one_picture_loses_to_one_that_follows_the_prompts() -> None:
    yardstick = Yardstick(
        training=np.stack([turned(-30), turned(0), turned(30)]),
        prompts=np.stack([turned(-60), turned(0), turned(60)]),
        unrelated=PROMPTS,
        base=painted((-70, 0, 70)),
    )
    copies, follows, forgets = painted((0, 0, 0)), painted((-40, 0, 40), lost=5), painted((-30, 0, 30), lost=20)
    rows = [measure(step, each, yardstick) for step, each in ((100, follows), (200, forgets), (300, copies))]
    assert rows[2].image_similarity > rows[1].image_similarity > rows[0].image_similarity
    references = get_references(yardstick)
    chosen, reason = choose(rows, references)
    assert rows[chosen].step == 100
    assert "checkpoint-100 reaches every bar, as none of the other 2 does" in reason
    assert [failure.split()[0] for failure in find_failures(rows[1], references)] == ["drift"]
    assert find_failures(rows[2], references)[0].startswith("variety 0.00 is under ")


def test_every_failure_names_value_and_bar() -> None:
    failed = find_failures(row(variety=0.05, text_image_similarity=0.19996, drift=0.2004, broken=3), REFERENCES)
    assert failed == (
        "variety 0.05 is under 0.10, half of the training pictures' own",
        "text–image similarity 0.19996 is under 0.20000, four fifths of the base's",
        "drift 0.2004 is over 0.2000 of what the base shows of unrelated prompts",
        "3 painted with numbers that are not finite",
    )


def test_what_equals_its_bar_reaches_it() -> None:
    references = References(image_similarity=0.5, text_image_similarity=0.5, variety=0.5)
    assert find_failures(row(variety=0.25, text_image_similarity=0.4, drift=MOST_DRIFT), references) == ()


def test_a_negative_agreement_may_lose_as_much_as_a_positive_one() -> None:
    references = REFERENCES._replace(text_image_similarity=-0.1)
    assert find_failures(row(text_image_similarity=-0.11), references) == ()
    assert find_failures(row(text_image_similarity=-0.13), references)[0].startswith(
        "text–image similarity -0.13 is under -0.12"
    )


def test_the_most_alike_of_those_that_reach_every_bar_wins() -> None:
    rows = [
        row(100, image_similarity=0.7),
        row(200, image_similarity=0.85),
        row(300, image_similarity=0.99, drift=0.3),
        row(400),
    ]
    chosen, reason = choose(rows, REFERENCES)
    assert chosen == 1
    assert reason == (
        "checkpoint-200 has the highest image similarity, 0.850, of the 3 of 4 that reach every bar "
        "(the bare base: 0.600)"
    )


def test_of_equals_the_one_that_trained_less_wins() -> None:
    rows = [row(300, image_similarity=0.8504), row(200, image_similarity=0.8496), row(100, image_similarity=0.84)]
    assert choose(rows, REFERENCES)[0] == 1


def test_where_none_reaches_every_bar_the_fewest_failures_win_and_the_reason_says_so() -> None:
    rows = [
        row(100, variety=0.01, drift=0.4, image_similarity=0.95),
        row(200, drift=0.3, image_similarity=0.7),
        row(300, drift=0.9),
    ]
    chosen, reason = choose(rows, REFERENCES)
    assert chosen == 2
    assert reason.startswith(
        "no checkpoint reaches every bar; checkpoint-300, image similarity 0.800, fails the least: drift 0.90"
    )
    assert choose(rows[:2], REFERENCES)[0] == 1


def test_a_drift_that_is_not_measured_is_no_pass_and_the_rest_still_counts() -> None:
    rows = [
        row(100, drift=None, image_similarity=0.9, variety=0.01),
        row(200, drift=None),
        row(300, drift=None, image_similarity=0.7),
    ]
    assert find_failures(rows[1], REFERENCES) == (NO_DRIFT,)
    chosen, reason = choose(rows, REFERENCES)
    assert chosen == 1
    assert reason.startswith(
        "no checkpoint reaches every bar; checkpoint-200, image similarity 0.800, fails the least: drift"
    )
    assert "set unrelated_prompts" in reason


def test_broken_paintings_lose_to_anything_whole() -> None:
    rows = [row(100, broken=1, image_similarity=0.99), row(200, variety=0.01, drift=0.8)]
    assert choose(rows, REFERENCES)[0] == 1


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"image_similarity": 0.5, "drift": 0.95}, "lower learning_rate, or make fewer updates"),
        ({"image_similarity": 0.5, "variety": 0.01}, "lower learning_rate, or make fewer updates"),
        ({"image_similarity": 0.5, "text_image_similarity": 0.1}, "lower learning_rate, or make fewer updates"),
        ({"image_similarity": 0.5, "broken": 2}, "lower learning_rate, or make fewer updates"),
        ({"image_similarity": 0.9, "drift": 0.95}, "lower learning_rate, or make fewer updates"),
        ({"image_similarity": 0.5}, "train longer, or with a higher learning rate"),
        ({"image_similarity": 0.9}, "(the bare base: 0.600)"),
    ],
)
def test_the_advice_follows_what_was_measured(changes: dict[str, Any], advice: str) -> None:
    _, reason = choose([row(**changes)], REFERENCES)
    assert reason.endswith(advice)
    assert ("higher" in reason) == ("higher" in advice)


def test_what_the_base_does_as_badly_is_not_blamed_on_the_training() -> None:
    poor = REFERENCES._replace(painted_variety=0.05)
    _, reason = choose([row(image_similarity=0.6, variety=0.05)], poor)
    assert reason.startswith("no checkpoint reaches every bar")
    assert reason.endswith("train longer, or with a higher learning rate")
    _, reason = choose([row(image_similarity=0.6, variety=0.01)], poor)
    assert reason.endswith("lower learning_rate, or make fewer updates")
    _, reason = choose([row(image_similarity=0.9, drift=None)], REFERENCES)
    assert reason.endswith("(the bare base: 0.600)")


def test_a_training_that_taught_nothing_is_told() -> None:
    _, reason = choose([row(image_similarity=0.6)], REFERENCES)
    assert "and is the only one; its image similarity is 0.600; that is no more than the bare base has" in reason


def test_nothing_to_choose_from_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no checkpoint"):
        choose([], REFERENCES)


def test_the_rule_is_one_paragraph_that_names_every_score() -> None:
    assert "\n" not in RULE
    assert all(
        word in RULE.lower() for word in ("image similarity", "text–image similarity", "variety", "drift", "not finite")
    )


def test_thinning_keeps_the_ends_and_is_even() -> None:
    assert thin_evenly(range(5), 5) == [0, 1, 2, 3, 4]
    assert thin_evenly(range(101), 5) == [0, 25, 50, 75, 100]
