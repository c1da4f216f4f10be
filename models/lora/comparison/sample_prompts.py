"""The prompts that every checkpoint paints: some with the character, and some that are unrelated to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from models.errors import InputError
from models.language.vocabulary import Vocabulary, load_vocabulary, with_article
from models.lora.options import TrainingOptions
from models.profiles import Profile

CHARACTER = (
    "{trigger} is looking at the viewer, portrait, by day",
    "{trigger} is walking along a road, in the mountains, at sunset, far shot",
    "{trigger} is sitting at a table and eating, inside a house, at night",
    "{trigger} is riding a horse, in a field, by day, from the side",
)
"""For a base that knows all words."""
UNRELATED = (
    "a woman in a green dress is standing in a market, by day",
    "an old man with a white beard is sitting on a bench, in a park, at sunset",
    "a dog is running on a beach, by day",
    "a lighthouse on a cliff, at night, far shot",
)

_SETTING = ("place", "time", "shot")


class SamplePrompts(NamedTuple):
    """What every checkpoint paints."""

    character: tuple[str, ...]
    """With the trigger word."""
    unrelated: tuple[str, ...]
    """Without it."""


def get_prompts(options: TrainingOptions) -> SamplePrompts:
    """The prompts that were set, and the profile's where none were.

    Raises:
        WeightsInvalid: the profile's vocabulary is missing, broken or lacks a word.
    """
    suggested = default_prompts(options.get_profile(), options.trigger_word())
    return SamplePrompts(
        options.validation_prompts or suggested.character, options.unrelated_prompts or suggested.unrelated
    )


def default_prompts(profile: Profile, trigger: str) -> SamplePrompts:
    """Four prompts of each kind that differ in action, place, time and shot, in words that the base knows.

    Raises:
        WeightsInvalid: the profile's vocabulary is missing, broken or lacks a word.
    """
    words = load_vocabulary(profile)
    if words is None:
        character, unrelated = [text.format(trigger=trigger) for text in CHARACTER], list(UNRELATED)
    else:
        character, unrelated = _character(words, trigger), _unrelated(words)
    style = f", {profile.style}" if profile.style else ""
    return SamplePrompts(tuple(text + style for text in character), tuple(text + style for text in unrelated))


def check_prompts(options: TrainingOptions) -> None:
    """Refuse prompts by which no score could be computed. Needs no torch.

    Raises:
        InputError: a validation prompt lacks the trigger word, an unrelated one has it, or one is there twice; all of
            them are in the message.
        WeightsInvalid: the profile's vocabulary is missing, broken or lacks a word.
    """
    problems = dict.fromkeys(_problems(get_prompts(options), options.trigger_word()))
    if problems:
        raise InputError("; ".join(problems))


def _problems(prompts: SamplePrompts, trigger: str) -> Iterator[str]:
    whole_word = re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)", re.IGNORECASE)
    for kind in prompts._fields:
        named: tuple[str, ...] = getattr(prompts, kind)
        setting = "validation_prompts" if kind == "character" else "unrelated_prompts"
        yield from (f"{setting}: {text!r} is there twice: leave one out" for text in named if named.count(text) > 1)
    for text in prompts.character:
        if not whole_word.search(text):
            yield f"validation_prompts: {text!r} lacks the trigger word {trigger!r}, which every one must have"
    for text in prompts.unrelated:
        if whole_word.search(text):
            yield f"unrelated_prompts: {text!r} has the trigger word {trigger!r}, which none may have"


def _character(words: Vocabulary, trigger: str) -> list[str]:
    riding = words.word("action", "riding").format(animal=words.word("animal", "horse"))
    partner = _person(words, "old man", "blue", "turban")
    return [
        _scene(words, f"{trigger} {riding}", ("mountains", "sunset", "far")),
        _scene(words, f"{trigger} {words.word('action', 'sitting')}", ("inside a yurt", "day", "near")),
        _scene(words, f"{trigger} {words.word('action', 'talking')} {partner}", ("bazaar", "day", "middle")),
        _scene(words, f"{trigger} {words.word('action', 'walking')}", ("river", "night", "middle")),
    ]


def _unrelated(words: Vocabulary) -> list[str]:
    riding = words.word("action", "riding").format(animal=words.word("animal", "donkey"))
    merchant, woman = _person(words, "merchant", "yellow", "turban"), _person(words, "woman", "green", "fur hat")
    old_man, boy = _person(words, "old man", "brown", "fur hat"), _person(words, "boy", "white", "skullcap")
    return [
        _scene(words, f"{merchant} {words.word('action', 'standing')}", ("bazaar", "day", "middle")),
        _scene(words, f"{woman} {words.word('action', 'sitting')}", ("inside a yurt", "night", "near")),
        _scene(words, f"{old_man} {riding}", ("steppe", "sunset", "far")),
        _scene(words, f"{boy} {words.word('action', 'running')}", ("mountains", "day", "far")),
    ]


def _person(words: Vocabulary, kind: str, robe: str, hat: str) -> str:
    """ "a merchant in a yellow robe and a turban"."""
    who, worn = with_article(words.word("kind", kind)), with_article(words.word("robe", robe))
    return f"{who} in {worn} and {with_article(words.word('hat', hat))}"


def _scene(words: Vocabulary, head: str, setting: tuple[str, str, str]) -> str:
    """Who does what, and its place, time and shot."""
    named = (words.word(attribute, concept) for attribute, concept in zip(_SETTING, setting, strict=True))
    return ", ".join([head, *named])
