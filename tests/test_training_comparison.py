"""Checkpoints are measured by cosines and chosen by one rule: here with features made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.errors import ScoreUnavailable
from models.lora.comparison import (
    RULE,
    Features,
    Measured,
    PaintedFeatures,
    References,
    Yardstick,
    agreement,
    choose,
    drift,
    find_failures,
    get_references,
    likeness,
    measure,
    spread,
    thin_evenly,
    variety,
)

REFERENCES = References(likeness=0.6, agreement=0.25, variety=0.2)


def row(step: int = 100, **changes: float) -> Measured:
    """A checkpoint that reaches every bar."""
    plain = {"likeness": 0.8, "agreement": 0.24, "variety": 0.15, "drift": 0.5, "broken": 0}
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
    assert likeness(np.stack([turned(0)]), training) == pytest.approx(1.0, abs=1e-6)
    assert likeness(np.stack([turned(0), turned(60)]), training) == pytest.approx((1 + 0.5) / 2, abs=1e-6)


def test_agreement_pairs_each_picture_with_its_own_prompt() -> None:
    painted = np.stack([[turned(0), turned(60)], [turned(90), turned(90)]])
    prompts = np.stack([turned(0), turned(90)])
    assert agreement(painted, prompts) == pytest.approx((1 + 0.5 + 1 + 1) / 4, abs=1e-6)
    assert agreement(painted, prompts[::-1]) < 0.5


def test_spread_is_over_all_pairs() -> None:
    pictures = np.stack([turned(0), turned(30), turned(60)])
    assert spread(pictures) == pytest.approx(1 - (2 * cosine(30) + cosine(60)) / 3, abs=1e-6)
    assert spread(np.stack([turned(10)] * 3)) == pytest.approx(0, abs=1e-6)


def test_variety_is_between_prompts_and_not_between_seeds() -> None:
    one_picture_a_seed = np.stack([[turned(0), turned(90)], [turned(0), turned(90)]])
    assert variety(one_picture_a_seed) == pytest.approx(0, abs=1e-6)
    one_picture_a_prompt = np.stack([[turned(0), turned(0)], [turned(90), turned(90)]])
    assert variety(one_picture_a_prompt) == pytest.approx(1, abs=1e-6)


def test_drift_is_counted_in_what_another_seed_changes() -> None:
    base = np.stack([[turned(0), turned(30)], [turned(0, 3), turned(30, 3)]])
    assert drift(base, base) == pytest.approx(0, abs=1e-5)
    as_another_seed = np.stack([[turned(-30), turned(0)], [turned(-30, 3), turned(0, 3)]])
    assert drift(as_another_seed, base) == pytest.approx(1, abs=1e-5)
    elsewhere = np.stack([[turned(90), turned(120)], [turned(90, 3), turned(120, 3)]])
    assert drift(elsewhere, base) == pytest.approx(1 / (1 - cosine(30)), rel=1e-5)


def test_a_checkpoint_of_one_seed_is_measured_by_a_base_of_two() -> None:
    base = np.stack([[turned(0), turned(30)]])
    assert drift(np.stack([[turned(30)]]), base) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("base", "reason"),
    [([[turned(0)]], "two of them, there is 1"), ([[turned(5), turned(5)]], "same picture with every seed")],
)
def test_drift_without_a_unit_is_an_error(base: list[list[Features]], reason: str) -> None:
    with pytest.raises(ScoreUnavailable, match=reason):
        drift(np.stack([[turned(90)]]), np.array(base))


def test_what_cannot_be_measured_is_an_error() -> None:
    lost = np.full((2, 2, 8), np.nan, dtype=np.float32)
    whole = np.stack([[turned(0), turned(30)], [turned(60), turned(90)]])
    with pytest.raises(ScoreUnavailable, match="likeness came out as nan"):
        likeness(lost[0], whole[0])
    with pytest.raises(ScoreUnavailable, match="agreement came out as nan"):
        agreement(lost, whole[0])
    with pytest.raises(ScoreUnavailable, match="variety came out as nan"):
        variety(lost)
    with pytest.raises(ScoreUnavailable, match="drift came out as nan"):
        drift(lost, whole)
    with pytest.raises(ScoreUnavailable, match="two of them, there is 1"):
        spread(whole[0][:1])
    with pytest.raises(ScoreUnavailable, match="cancel each other out"):
        likeness(whole[0], np.stack([turned(0), turned(180)]))


def painted(degrees: tuple[float, ...], unrelated: float = 0) -> PaintedFeatures:
    """One seed of each prompt, and an unrelated picture that moved so far."""
    character = np.stack([[turned(angle)] for angle in degrees])
    return PaintedFeatures(character=character, unrelated=np.stack([[turned(unrelated)]]))


def test_a_lora_that_paints_one_picture_loses_to_one_that_follows_the_prompts() -> None:
    yardstick = Yardstick(
        training=np.stack([turned(-30), turned(0), turned(30)]),
        prompts=np.stack([turned(-60), turned(0), turned(60)]),
        base=PaintedFeatures(painted((-70, 0, 70)).character, np.stack([[turned(0), turned(40)]])),
    )
    copies, follows, forgets = painted((0, 0, 0)), painted((-40, 0, 40)), painted((-30, 0, 30), unrelated=50)
    rows = [measure(step, each, yardstick) for step, each in ((100, follows), (200, forgets), (300, copies))]
    assert rows[2].likeness > rows[1].likeness > rows[0].likeness
    references = get_references(yardstick)
    chosen, reason = choose(rows, references)
    assert rows[chosen].step == 100
    assert "checkpoint-100 reaches every bar, as none of the other 2 does" in reason
    assert [failure.split()[0] for failure in find_failures(rows[1], references)] == ["drift"]
    assert find_failures(rows[2], references)[0].startswith("variety 0.00 is under ")


def test_every_failure_names_value_and_bar() -> None:
    failed = find_failures(row(variety=0.05, agreement=0.19996, drift=1.4, broken=3), REFERENCES)
    assert failed == (
        "variety 0.05 is under 0.10, half of the training pictures' own",
        "agreement 0.19996 is under 0.20000, four fifths of the base's",
        "drift 1.40 is over 1.00, what another seed changes",
        "3 painted with numbers that are not finite",
    )


def test_what_equals_its_bar_reaches_it() -> None:
    references = References(likeness=0.5, agreement=0.5, variety=0.5)
    assert find_failures(row(variety=0.25, agreement=0.4, drift=1.0), references) == ()


def test_a_negative_agreement_may_lose_as_much_as_a_positive_one() -> None:
    references = REFERENCES._replace(agreement=-0.1)
    assert find_failures(row(agreement=-0.11), references) == ()
    assert find_failures(row(agreement=-0.13), references)[0].startswith("agreement -0.13 is under -0.12")


def test_the_most_alike_of_those_that_reach_every_bar_wins() -> None:
    rows = [row(100, likeness=0.7), row(200, likeness=0.85), row(300, likeness=0.99, drift=1.2), row(400)]
    chosen, reason = choose(rows, REFERENCES)
    assert chosen == 1
    assert reason == (
        "checkpoint-200 has the highest likeness, 0.850, of the 3 of 4 that reach every bar (the bare base: 0.600)"
    )


def test_of_equals_the_one_that_trained_less_wins() -> None:
    rows = [row(300, likeness=0.8504), row(200, likeness=0.8496), row(100, likeness=0.84)]
    assert choose(rows, REFERENCES)[0] == 1


def test_where_none_reaches_every_bar_the_fewest_failures_win_and_the_reason_says_so() -> None:
    rows = [row(100, variety=0.01, drift=2, likeness=0.95), row(200, drift=1.2, likeness=0.7), row(300, drift=3)]
    chosen, reason = choose(rows, REFERENCES)
    assert chosen == 2
    assert reason.startswith(
        "no checkpoint reaches every bar; checkpoint-300, likeness 0.800, fails the least: drift 3"
    )
    assert choose(rows[:2], REFERENCES)[0] == 1


def test_broken_paintings_lose_to_anything_whole() -> None:
    rows = [row(100, broken=1, likeness=0.99), row(200, variety=0.01, drift=2)]
    assert choose(rows, REFERENCES)[0] == 1


def test_a_training_that_taught_nothing_is_told() -> None:
    _, reason = choose([row(likeness=0.6)], REFERENCES)
    assert "and is the only one; its likeness is 0.600; that is no more than the bare base has" in reason


def test_nothing_to_choose_from_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no checkpoint"):
        choose([], REFERENCES)


def test_the_rule_is_one_paragraph_that_names_every_score() -> None:
    assert "\n" not in RULE
    assert all(word in RULE for word in ("likeness", "agreement", "variety", "drift", "not finite"))


def test_thinning_keeps_the_ends_and_is_even() -> None:
    assert thin_evenly(range(5), 5) == [0, 1, 2, 3, 4]
    assert thin_evenly(range(101), 5) == [0, 25, 50, 75, 100]
