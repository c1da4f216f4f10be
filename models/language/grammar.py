"""What a language brings along so that the offline writer can read a sentence and tell a tale in it.

`english`, `russian` and `kazakh` each hold one `Language`; a fourth language is one more such file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    """A noun in the forms that captions ask for: `{foe.dat}`. A language without cases has one form for all."""

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
        """A noun that never changes."""
        return cls(*(word,) * 7)


Words = Mapping[str, str]
"""Concept -> its lexemes, separated by commas; the first is the one captions use when a story names none."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """Words to recognise, and sentences to tell with."""

    code: str
    people: Words
    animals: Words
    props: Words
    places: Words
    times: Words
    hats: Words
    colours: Words
    garments: str
    """Lexemes of what a colour can belong to: "red robe" is clothing, "red" alone is nothing."""
    cues: Words
    """Name of a tale shape -> words that suggest it."""
    pattern: Callable[[str], str]
    """Lexeme -> regular expression of all its forms, without word boundaries."""
    noun: Callable[[str], Noun]
    """Lexeme -> its forms for captions."""
    things: Mapping[str, Noun]
    """Animals and props as captions call them when the story has no word of its own for them."""
    at: Mapping[str, str]
    """Place -> "at the bazaar"."""
    to: Mapping[str, str]
    """Place -> "to the bazaar"."""
    captions: Mapping[str, str]
    """Key of a beat -> its sentence."""
    stands: str
    """Sentence for an animal `{it}` that is in a picture without being in its caption."""
    lies: str
    """The same for a thing."""


def lexemes(listed: str) -> list[str]:
    """The lexemes of one comma-separated entry."""
    return [" ".join(lexeme.split()) for lexeme in listed.split(",") if lexeme.strip()]
