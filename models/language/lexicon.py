"""Reading of a sentence: its language, and the concepts in it that a steppe tale can show."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from models.language.english import ENGLISH
from models.language.grammar import Language, lexemes
from models.language.kazakh import KAZAKH
from models.language.russian import RUSSIAN

LANGUAGES = {language.code: language for language in (ENGLISH, RUSSIAN, KAZAKH)}

SHOWABLE = ("robes", "hats", "people", "props", "animals", "places", "times")
"""Attributes that a scene can show, in the order in which a text is searched for them."""

HERO = re.compile(r"\b(?:aldar|алдар)\w{0,3}(?:[\s-]*(?:k[oöө]s+e|к[оөо]с[еэ])\w{0,3})?(?:['’]s)?", re.IGNORECASE)
"""The hero's name in any spelling. It is replaced by §: he is in every frame, and the § distinguishes "Алдар Көсе атты"
("called Aldar Köse") from "атты" ("the horse")."""

CYRILLIC = re.compile(r"[\u0400-\u04ff]")
KAZAKH_LETTERS = re.compile(r"[әғқңөұүһі]")
KAZAKH_ENDINGS = re.compile(r"\w{2,}(?:[дт][ыі]|дан|ден|тан|тен|нан|нен|да|ға|ге|мен|пен)\b|\bмен\b|\bбір\b")
RUSSIAN_SIGNS = re.compile(r"\b\w*[вфцчщъьё]\w*\b|\b(?:и|у|на|о|к|с|за|из|но|он|не|до|по|как|его)\b")


@dataclass(frozen=True)
class Found:
    """A concept, and the lexeme that named it."""

    concept: str
    lexeme: str


@dataclass(frozen=True)
class Word:
    """A place in a text that names a concept."""

    start: int
    end: int
    found: Found


@dataclass(frozen=True, kw_only=True)
class Named:
    """The concepts that a sentence names, each once, in the sentence's order."""

    language: Language
    people: tuple[Found, ...]
    animals: tuple[Found, ...]
    props: tuple[Found, ...]
    places: tuple[str, ...]
    times: tuple[str, ...]
    hats: tuple[str, ...]
    robes: tuple[str, ...]
    cues: tuple[str, ...]
    """For every word that suggests a tale shape, the shape's name; repeated words count again."""


def read(text: str) -> Named:
    """Return the concepts that `text` names. Unknown words and scripts are ignored."""
    plain, language = plain_text(text)
    robes, rest = _take(plain, language.code, "robes")
    hats, rest = _take(rest, language.code, "hats")
    people, rest = _take(rest, language.code, "people")
    props, rest = _take(rest, language.code, "props")
    animals, rest = _take(rest, language.code, "animals")
    places, rest = _take(rest, language.code, "places")
    times, _ = _take(rest, language.code, "times")
    return Named(
        language=language,
        people=people,
        animals=animals,
        props=props,
        places=tuple(found.concept for found in places),
        times=tuple(found.concept for found in times),
        hats=tuple(found.concept for found in hats),
        robes=tuple(found.concept for found in robes),
        cues=tuple(word.found.concept for word in find_words(plain, language.code, "cues")[0]),
    )


def plain_text(text: str) -> tuple[str, Language]:
    """Return the text as it is searched, in lower case and with § for the hero, and its language."""
    plain = HERO.sub("§", text.casefold().replace("ё", "е"))
    return plain, detect(plain, text)


def detect(plain: str, original: str = "") -> Language:
    """Return the language for captions: Russian, Kazakh, or English for all other texts.

    `plain` is the text in lower case without the hero's name, whose Kazakh letters also occur in Russian texts.
    """
    if not CYRILLIC.search(plain):
        return (
            KAZAKH if KAZAKH_LETTERS.search(original.casefold()) else RUSSIAN if CYRILLIC.search(original) else ENGLISH
        )
    kazakh = len(re.findall(r"\b\w*[әғқңөұүһі]\w*\b", plain)) + 0.6 * len(KAZAKH_ENDINGS.findall(plain))
    return KAZAKH if kazakh > len(RUSSIAN_SIGNS.findall(plain)) else RUSSIAN


def why_unread(text: str) -> str | None:
    """Return why the offline writer can use nothing of this text but its hero, as a clause; None if it can."""
    letters = [letter for letter in HERO.sub("", text) if letter.isalpha()]
    foreign = [script for script in map(_script, letters) if script not in _READ_SCRIPTS]
    languages = "the offline writer reads English, Russian and Kazakh"
    if 2 * len(foreign) > len(letters):
        script = max(set(foreign), key=foreign.count)
        return f"it is in {_SCRIPT_NAMES.get(script, script.title())} letters, and {languages}"
    named = read(text)
    found = (named.people, named.animals, named.props, named.places, named.times, named.hats, named.robes, named.cues)
    return None if any(found) else f"it names nothing that the offline writer knows, and {languages}"


_READ_SCRIPTS = ("LATIN", "CYRILLIC")
_SCRIPT_NAMES = {"CJK": "Chinese"}


def _script(letter: str) -> str:
    """Return the letter's script: the first word of its Unicode name."""
    return unicodedata.name(letter, "UNKNOWN").partition(" ")[0]


def _take(text: str, code: str, attribute: str) -> tuple[tuple[Found, ...], str]:
    """Return each concept once, in the text's order, and the text without the words that named them."""
    words, rest = find_words(text, code, attribute)
    first: dict[str, Found] = {}
    for word in words:
        first.setdefault(word.found.concept, word.found)
    return tuple(first.values()), rest


def find_words(text: str, code: str, attribute: str) -> tuple[list[Word], str]:
    """Return all words in the text's order, and the text with a · for each of their letters.

    Longer lexemes are found first: "old woman" before "woman".

    Args:
        text: as `plain_text` returns it.
        code: of the language.
        attribute: one of `SHOWABLE`, or cues.
    """
    words: list[Word] = []
    for expression, found in _expressions(code, attribute):
        words += [Word(match.start(), match.end(), found) for match in expression.finditer(text)]
        text = expression.sub(lambda match: "·" * len(match.group()), text)
    return sorted(words, key=lambda word: word.start), text


@cache
def _expressions(code: str, attribute: str) -> list[tuple[re.Pattern[str], Found]]:
    language = LANGUAGES[code]
    tail = ""
    words = language.colours if attribute == "robes" else getattr(language, attribute)
    if attribute == "robes":  # a colour counts only before a garment, with at most one word between
        garments = "|".join(language.pattern(garment) for garment in lexemes(language.garments))
        tail = rf"\s+(?:\w+\s+)?(?:{garments})"
    entries = [(lexeme, Found(concept, lexeme)) for concept, listed in words.items() for lexeme in lexemes(listed)]
    entries.sort(key=lambda entry: -len(entry[0].split(":")[0]))
    return [(_whole(f"(?:{language.pattern(lexeme)}){tail}"), found) for lexeme, found in entries]


def _whole(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for whole words only, so that "ат" does not match in "атасы"."""
    return re.compile(rf"(?<!\w)(?:{pattern.replace('ё', 'е')})(?!\w)")
