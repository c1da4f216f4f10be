"""What the checkpoints are asked to paint: with the trigger word, and without it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from models.errors import InputError
from models.language.vocabulary import load_vocabulary
from models.lora.comparison.sample_prompts import check_prompts, default_prompts, get_prompts
from models.lora.options import TrainingOptions
from models.profiles import PROFILES, ROOT, STEPPE


def options(**changes: Any) -> TrainingOptions:
    return TrainingOptions.model_validate(changes)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("trigger", [None, "ohwx", "<aldar>", "{x}"])
def test_every_profile_has_prompts_of_its_own_that_pass(profile: str, trigger: str | None) -> None:
    chosen = options(profile=profile, trigger=trigger)
    prompts = get_prompts(chosen)
    check_prompts(chosen)
    assert len(prompts.character) == len(prompts.unrelated) == 4
    assert all(text.startswith(chosen.trigger_word()) for text in prompts.character)
    assert all(text.endswith(PROFILES[profile].style) for text in (*prompts.character, *prompts.unrelated))


def test_a_base_with_a_vocabulary_is_asked_in_its_own_words() -> None:
    vocabulary = load_vocabulary(STEPPE)
    assert vocabulary is not None
    known = {word for words in vocabulary.model_dump().values() for text in words.values() for word in text.split()}
    known |= {"aldar_kose_man", "a", "an", "and", "in", *STEPPE.style.split()}
    prompts = default_prompts(STEPPE, "aldar_kose_man")
    for text in (*prompts.character, *prompts.unrelated):
        assert set(re.findall(r"\w+", text)) <= known, text
    assert prompts.character[0] == (
        "aldar_kose_man is riding a horse, in the mountains, at sunset, far shot, storybook illustration"
    )
    assert prompts.unrelated[0] == (
        "a merchant in a yellow robe and a turban is standing, bazaar, by day, middle shot, storybook illustration"
    )


def test_prompts_that_were_set_are_taken() -> None:
    chosen = options(validation_prompts=["aldar_kose_man a", "aldar_kose_man b"])
    assert get_prompts(chosen).character == ("aldar_kose_man a", "aldar_kose_man b")
    assert get_prompts(chosen).unrelated == default_prompts(STEPPE, "aldar_kose_man").unrelated


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_prompts": ["aldar_kose_man rides", "a man rides"]}, "'a man rides' lacks the trigger word"),
        ({"validation_prompts": ["aldar_kose_mans", "aldar_kose_man"]}, "'aldar_kose_mans' lacks the trigger word"),
        (
            {"unrelated_prompts": ["a dog", "a friend of Aldar_Kose_Man's"]},
            "has the trigger word 'aldar_kose_man', which none may",
        ),
        ({"unrelated_prompts": ["a dog", "a dog"]}, "unrelated_prompts: 'a dog' is there twice: leave one out"),
        ({"trigger": "merchant"}, "unrelated_prompts: 'a merchant in .* has the trigger word 'merchant'"),
    ],
)
def test_prompts_that_measure_nothing_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_prompts(options(**changes))


@pytest.mark.parametrize("setting", ["validation_prompts", "unrelated_prompts"])
def test_a_single_prompt_is_too_few_to_measure_by(setting: str) -> None:
    with pytest.raises(ValidationError, match=rf"{setting}\s+Tuple should have at least 2 items"):
        options(**{setting: ["aldar_kose_man"]})


def test_all_faults_are_told_at_once_and_each_once() -> None:
    with pytest.raises(InputError) as raised:
        check_prompts(options(validation_prompts=["one", "one"], unrelated_prompts=["a dog", "aldar_kose_man"]))
    assert str(raised.value).split("; ") == [
        "validation_prompts: 'one' is there twice: leave one out",
        "validation_prompts: 'one' lacks the trigger word 'aldar_kose_man', which every one must have",
        "unrelated_prompts: 'aldar_kose_man' has the trigger word 'aldar_kose_man', which none may have",
    ]


def test_the_check_needs_no_torch() -> None:
    code = (
        "import sys; from models.lora.options import TrainingOptions; "
        "from models.lora.comparison import sample_prompts; "
        "sample_prompts.check_prompts(TrainingOptions()); print('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
