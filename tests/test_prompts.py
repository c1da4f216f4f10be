"""From a scene to the words the pipeline paints from: who is described where, and what gives way at 77 tokens."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.errors import InputError, WeightsInvalid
from models.language.prompts import MAX_TOKENS, refine, token_counter
from models.profiles import ROOT, SDXL, Profile
from models.records import CastMember, Scene
from models.sources import Component

MERCHANT = CastMember(name="the merchant", description="a merchant in a yellow robe and a turban")
OLD_MERCHANT = CastMember(name="the old merchant", description="an old merchant in a red robe and a fur hat")
PROFILE = SDXL.model_copy(update={"style": "storybook"})


def scene(**changes: Any) -> Scene:
    fields = {
        "number": 2,
        "caption": "They talk.",
        "action": "is talking to the merchant",
        "cast": ("the merchant",),
        "place": "bazaar",
        "time": "at sunset",
        "shot": "middle shot",
        "things": ("a camel", "a carpet"),
    }
    return Scene.model_validate(fields | changes)


def words(text: str) -> int:
    """A token a word, and start and end."""
    return len(text.split()) + 2


def test_a_prompt_in_the_order_of_importance() -> None:
    refined = refine(scene(), (MERCHANT,), PROFILE, words)
    assert refined.prompt == (
        "aldar_kose_man is talking to a merchant in a yellow robe and a turban, "
        "bazaar, at sunset, with a camel, with a carpet, middle shot, storybook"
    )
    assert refined.tokens == words(refined.prompt)
    assert refined.cut == ()
    assert refined.negative_prompt == PROFILE.negative_prompt


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("is talking to THE MERCHANT", "is talking to a merchant in a yellow robe and a turban,"),
        ("is talking to merchant", "is talking to a merchant in a yellow robe and a turban,"),
        ("sees the merchant, the merchant laughs", "a turban, the merchant laughs,"),
        ("is riding", "is riding with a merchant in a yellow robe and a turban,"),
        ("is talking to the merchants", "to the merchants with a merchant in a yellow robe"),
        ("rides the merchant's horse", "rides the merchant's horse with a merchant in a yellow robe"),
    ],
)
def test_a_cast_member_is_described_exactly_once(action: str, expected: str) -> None:
    text = refine(scene(action=action), (MERCHANT,), PROFILE, words).prompt
    assert expected in text
    assert text.count(MERCHANT.description) == 1


def test_longer_names_go_first_and_descriptions_are_not_searched() -> None:
    both = scene(action="leads the old merchant to the merchant", cast=("the merchant", "the old merchant"))
    text = refine(both, (MERCHANT, OLD_MERCHANT), PROFILE, words).prompt
    assert f"leads {OLD_MERCHANT.description} to {MERCHANT.description}," in text


def test_a_name_that_begins_with_another_name_is_not_cut_short() -> None:
    guard = CastMember(name="the merchant guard", description="a young man in a blue robe and a fur hat")
    refined = refine(scene(action="waves to the merchant guard"), (MERCHANT, guard), PROFILE, words)
    assert refined.prompt.startswith(f"aldar_kose_man waves to {guard.description} with {MERCHANT.description},")


def test_someone_outside_the_cast_is_an_input_error() -> None:
    with pytest.raises(InputError, match="'the khan', the cast is the merchant"):
        refine(scene(cast=("the khan",)), (MERCHANT,), PROFILE, words)


def test_whole_parts_give_way_from_the_end_and_are_named(caplog: pytest.LogCaptureFixture) -> None:
    long_place = " ".join(["far"] * 55)
    profile = PROFILE.model_copy(update={"style": "storybook " * 5})
    with caplog.at_level(logging.WARNING, logger="models.language"):
        refined = refine(scene(place=long_place[:80]), (MERCHANT,), profile, lambda text: words(text) * 2)
    assert refined.tokens <= MAX_TOKENS
    assert refined.cut
    assert refined.cut[-1] == profile.style
    assert refined.prompt.startswith("aldar_kose_man is talking to a merchant in a yellow robe and a turban")
    assert "frame 2" in caplog.text
    assert profile.style in caplog.text


def test_a_first_part_that_is_too_long_is_cut_at_words() -> None:
    action = "is carrying " + "very " * 30 + "heavy sacks"
    refined = refine(scene(action=action, cast=()), (), PROFILE, lambda text: words(text) * 4)
    assert refined.tokens <= MAX_TOKENS
    assert refined.prompt.startswith("aldar_kose_man is carrying very")
    assert refined.prompt.split()[-1] == "very"
    assert refined.cut[0].endswith("heavy sacks")
    assert refined.cut[1:] == ("bazaar", "at sunset", "with a camel", "with a carpet", "middle shot", "storybook")


def profile_at(folder: Path) -> Profile:
    return PROFILE.model_copy(update={"base": Component(source=str(folder), size=0)})


def write_tokenizer(folder: Path) -> None:
    """CLIP's byte-level alphabet, with no merges: a token a character."""
    characters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    vocabulary = [*characters, *(f"{one}</w>" for one in characters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(vocabulary)}))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")


def test_tokens_are_counted_with_start_and_end_and_beyond_77(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    count = token_counter(profile_at(tmp_path))
    assert count("ab c") == 5
    assert count("a " * 100) == 102


def test_a_real_tokenizer_keeps_a_prompt_within_77(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    refined = refine(scene(), (MERCHANT,), PROFILE, token_counter(profile_at(tmp_path)))
    assert refined.tokens <= MAX_TOKENS
    assert refined.cut


def test_a_missing_or_broken_tokenizer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsInvalid, match="tokenizer of") as missing:
        token_counter(profile_at(tmp_path / "empty"))
    write_tokenizer(tmp_path)
    (tmp_path / "tokenizer" / "vocab.json").write_text("{")
    with pytest.raises(WeightsInvalid, match="tokenizer of") as broken:
        token_counter(profile_at(tmp_path))
    assert "\n" not in f"{missing.value}{broken.value}"


def test_the_writer_starts_without_the_heavy_libraries() -> None:
    code = (
        "import sys; from models.language import writer, offline, prompts; "
        "print(sorted({'torch', 'transformers', 'openai', 'prefect', 'diffusers'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
