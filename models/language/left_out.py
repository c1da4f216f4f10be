"""What the offline writer's scenes leave out of a story: its words for people, things, places, weather and actions.

A word is left out if the writer does not know it, or knows it and no scene shows it or tells of it. Words that no
picture can show (`silent_words.py`) are not reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from functools import cache

from models.language.lexicon import SHOWABLE, find_words, plain_text
from models.language.silent_words import ENDINGS, SILENT, WEATHER

_WORD = re.compile(r"(?<![§\w])[a-z\u00df-\u024f\u0400-\u04ff]+")
LEAST = 2
"""Letters of the shortest word that is reported."""
COLD = "swap"
"""The shape with cold weather."""


def find_left_out(text: str, shown: Set[str], shape: str) -> tuple[str, ...]:
    """Return the story's words that no scene shows or tells of, in lower case, in the story's order, each once.

    Args:
        text: the story.
        shown: concepts that the scenes show or tell of: people, animals, props, places, times, hats, colours of
            robes.
        shape: name of the tale's shape; the words that suggest it are in the tale.
    """
    plain, language = plain_text(text)
    silent, weather = (_expression(listed[language.code], language.code) for listed in (SILENT, WEATHER))
    hidden, rest = dict[int, str](), plain
    for attribute in SHOWABLE:
        words, rest = find_words(rest, language.code, attribute)
        hidden |= {word.start: plain[word.start : word.end] for word in words if word.found.concept not in shown}
    for cue in find_words(plain, language.code, "cues")[0]:
        named = plain[cue.start : cue.end]
        if not weather.fullmatch(named):
            rest = rest[: cue.start] + "·" * len(named) + rest[cue.end :]
    for match in _WORD.finditer(rest):
        word = match.group()
        known = silent.fullmatch(word) or (shape == COLD and weather.fullmatch(word))
        if len(word) >= LEAST and not known:
            hidden[match.start()] = word
    return tuple(_each_once(word for _, word in sorted(hidden.items())))


def _each_once(words: Iterable[str]) -> Iterator[str]:
    """Yield the words without other forms of earlier ones: those that begin like all of the shorter but a letter."""
    told: list[str] = []
    for word in words:
        if not any(word[:length] == one[:length] for one in told if (length := max(3, min(len(word), len(one)) - 1))):
            told.append(word)
            yield word


@cache
def _expression(listed: str, code: str) -> re.Pattern[str]:
    """Compile a list of words, in which `*` stands for any of the language's endings."""
    words = [re.escape(word).replace(r"\*", ENDINGS[code]) for word in listed.replace("ё", "е").split()]
    return re.compile("|".join(words))
