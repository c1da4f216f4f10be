"""People and things for the roles of a tale: those that the sentence names, else chosen by its hash."""

from __future__ import annotations

from dataclasses import dataclass

from models.language.grammar import Language, Noun, lexemes
from models.language.lexicon import Found, Named
from models.language.tales import Pick, Shape
from models.language.vocabulary import Vocabulary, with_article
from models.records import CastMember

MOUNTS = ("donkey", "horse", "camel")
POMP = ("khan", "merchant", "young man", "old man", "woman", "boy")
"""Kinds in the order in which they are preferred as the one who is tricked: the richest first."""
USUAL_FOES = ("merchant", "khan", "merchant", "old man", "young man")
HATS = {
    "khan": ("crown", "crown", "turban"),
    "merchant": ("turban", "fur hat", "skullcap"),
    "old man": ("turban", "fur hat", "skullcap"),
    "young man": ("fur hat", "skullcap", "straw hat"),
    "woman": ("skullcap", "straw hat", "fur hat"),
    "boy": ("skullcap", "straw hat", "fur hat"),
}


@dataclass(frozen=True)
class Player:
    """A cast member and the noun for captions."""

    member: CastMember
    noun: Noun


@dataclass(frozen=True, kw_only=True)
class Roles:
    """A tale's roles: role name -> player, thing (a concept) or place."""

    players: dict[str, Player]
    things: dict[str, str]
    places: dict[str, str]
    nouns: dict[str, Noun]
    """Animal or prop -> its noun for captions."""


def cast_roles(named: Named, shape: Shape, vocabulary: Vocabulary, pick: Pick) -> Roles:
    """Return the roles of `shape`, all filled."""
    things = _things(named, shape, pick)
    return Roles(
        players=_players(named, shape, vocabulary, pick),
        things=things,
        places=_places(named, shape, pick),
        nouns={**named.language.things, **{f.concept: named.language.noun(f.lexeme) for f in named.animals}},
    )


def _players(named: Named, shape: Shape, vocabulary: Vocabulary, pick: Pick) -> dict[str, Player]:
    roles = dict(_who(named, shape, pick))
    robes = [*named.robes, *_rotated([robe for robe in vocabulary.robe if robe not in named.robes], pick("robe", 8))]
    players = {}
    for index, (role, found) in enumerate(roles.items()):
        usual = HATS[found.concept]
        hat = usual[pick(f"hat {role}", len(usual))] if index >= len(named.hats) else named.hats[index]
        member = _member(found.concept, robes[index], hat, vocabulary)
        players[role] = Player(member, named.language.noun(found.lexeme))
    return players


def _who(named: Named, shape: Shape, pick: Pick) -> list[tuple[str, Found]]:
    """Return (role, person) pairs. In the tale "friend", a poor person who is named alone is helped, not tricked."""
    people = sorted(named.people, key=lambda found: POMP.index(found.concept))
    helps = shape.name == "friend"
    if helps and people and people[0].concept in ("old man", "woman", "boy"):
        people.insert(0, _somebody("merchant", named.language))
    if not people:
        people = [_somebody(USUAL_FOES[pick("foe", len(USUAL_FOES))], named.language)]
    if helps and len(people) == 1:
        poor = [kind for kind in ("old man", "woman", "boy") if kind != people[0].concept]
        people.append(_somebody(poor[pick("friend", len(poor))], named.language))
    return [("foe", people[0]), *((f"friend{index}", found) for index, found in enumerate(people[1:]))]


def _somebody(kind: str, language: Language) -> Found:
    return Found(kind, lexemes(language.people[kind])[0])


def _member(kind: str, robe: str, hat: str, vocabulary: Vocabulary) -> CastMember:
    """Return the cast member, whose description every prompt uses."""
    robe_words = with_article(vocabulary.word("robe", robe))
    hat_words = with_article(vocabulary.word("hat", hat))
    person = with_article(vocabulary.word("kind", kind))
    return CastMember(name=f"the {kind}", description=f"{person} in {robe_words} and {hat_words}")


def _things(named: Named, shape: Shape, pick: Pick) -> dict[str, str]:
    """Return the things by role: mount (ridden by the hero), bait (used in the trick), prize (won), loan (borrowed)."""
    props = [found.concept for found in named.props]
    animals = [found.concept for found in named.animals]
    mount = next((animal for animal in animals if animal in MOUNTS), MOUNTS[pick("mount", 2)])
    baits = [] if shape.bait_is_fixed else [prop for prop in props if prop != "sack of gold"]
    bait = (baits or [shape.bait])[0]
    prizes = [prop for prop in props if prop != bait] + [animal for animal in animals if animal != mount]
    return {
        "mount": mount,
        "bait": bait,
        "prize": (prizes or animals or ["sack of gold"])[0],
        "loan": (animals or props or ["cauldron"])[0],
    }


def _places(named: Named, shape: Shape, pick: Pick) -> dict[str, str]:
    """Return the places by role: the trick happens at the first named place; the others are on the way."""
    scene = (*named.places, shape.scene)[0]
    others = list(named.places[1:])
    usual = ["steppe", "river", "mountains"]
    outdoors = [place for place in _rotated(usual, pick("road", 3)) if place not in (scene, *others)]
    away, road = (others + outdoors)[:2]
    return {"scene": scene, "road": road, "away": away, "home": "yurts", "inside": "inside a yurt"}


def _rotated(items: list[str], by: int) -> list[str]:
    by %= max(1, len(items))
    return items[by:] + items[:by]
