"""Quoted speech in a story: what is said, and who says it."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import NamedTuple

from models.language.lexicon import HERO, Named, find_words

QUOTED = re.compile(r"„([^„“”]+)[“”]|“([^“”]+)”|«([^«»]+)»|\"([^\"]+)\"")
_SPOKEN = re.compile(r"[.!?…,]\s*$")
_SENTENCE_ENDS = re.compile(r"[.!?…;]")
_CLAUSE_ENDS = re.compile(r"[.!?…;,—–]")
LONGEST = 500
"""Characters of one speech; a longer one ends in an ellipsis."""


class Quote(NamedTuple):
    """A quotation that somebody speaks."""

    speaker: str
    """The concept of the person, or "" for the hero."""
    text: str


def find_quotes(text: str, named: Named) -> list[Quote]:
    """Return the story's quoted speech in its order.

    Quoted words count as speech if they end like a sentence or follow a colon or a comma; a name in quotes is none. The
    speaker is named first in the clause before a quotation that a colon or a comma introduces, else in the sentence
    after it, else in the clause before it; if nobody is named, it is the hero.
    """
    found, end = [], 0
    matches = list(QUOTED.finditer(text))
    for match, following in zip_longest(matches, matches[1:]):
        before, after = text[end : match.start()], text[match.end() : following.start() if following else len(text)]
        end = match.end()
        words = " ".join(next(filter(None, match.groups())).split())
        introduced = before.rstrip().endswith((":", ","))
        if not words or not (introduced or _SPOKEN.search(words) or after.lstrip().startswith((",", "—", "–", "-"))):
            continue
        earlier = _people(_CLAUSE_ENDS.split(before.rstrip(" :,—–"))[-1], named)
        later = _people(_SENTENCE_ENDS.split(after, maxsplit=1)[0], named)
        by_order = (earlier, later) if introduced else (later, earlier)
        speaker = next((people[0] for people in by_order if people), "")
        found.append(Quote(speaker, _shortened(words.rstrip(",").strip())))
    return [quote for quote in found if quote.text]


def _people(text: str, named: Named) -> list[str]:
    """Return the concepts of the people in a text, in its order, with "" for the hero."""
    plain = HERO.sub("§", text.casefold().replace("ё", "е"))
    people = [(word.start, word.found.concept) for word in find_words(plain, named.language.code, "people")[0]]
    people += [(match.start(), "") for match in re.finditer("§", plain)]
    return [concept for _, concept in sorted(people)]


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
