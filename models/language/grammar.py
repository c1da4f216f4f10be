"""The record of a language with which the offline writer reads a sentence and writes captions.

`english`, `russian` and `kazakh` each define one `Language`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    """A noun's cases, as captions use them: `{foe.dat}`. Without cases, all forms are equal."""

    nom: str
    gen: str
    dat: str
    acc: str
    ins: str
    loc: str
    abl: str

    def __str__(self) -> str:
        return self.nom

    @classmethod
    def plain(cls, word: str) -> Noun:
        """Return a noun with the same form in all cases."""
        return cls(*(word,) * 7)


Words = Mapping[str, str]
"""Concept -> its lexemes, separated by commas. Captions use the first if the story names none."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """A language's words to recognise and its caption templates."""

    code: str
    people: Words
    animals: Words
    props: Words
    places: Words
    times: Words
    hats: Words
    colours: Words
    garments: str
    """Lexemes of clothes. A colour counts only before one of them: "red robe", not "red"."""
    cues: Words
    """Name of a tale shape -> words that suggest it."""
    pattern: Callable[[str], str]
    """Lexeme -> regular expression for all its forms, without word boundaries."""
    noun: Callable[[str], Noun]
    """Lexeme -> its cases."""
    things: Mapping[str, Noun]
    """Animal or prop -> the noun that captions use if the story names none."""
    at: Mapping[str, str]
    """Place -> "at the bazaar"."""
    to: Mapping[str, str]
    """Place -> "to the bazaar"."""
    captions: Mapping[str, str]
    """Key of a beat -> its sentence."""
    stands: str
    """Sentence for an animal `{it}` that is in the picture but not in the caption."""
    lies: str
    """The same for a prop."""


def lexemes(listed: str) -> list[str]:
    """Return the lexemes of one comma-separated entry."""
    return [" ".join(lexeme.split()) for lexeme in listed.split(",") if lexeme.strip()]
