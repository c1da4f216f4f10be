"""The words that a base model knows: concepts such as `bazaar`, with their wording in captions."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from models.errors import WeightsInvalid
from models.profiles import Profile
from models.records import Record


class Vocabulary(Record):
    """Attribute -> concept -> its canonical wording. Actions may contain `{prop}` or `{animal}`."""

    kind: dict[str, str]
    robe: dict[str, str]
    hat: dict[str, str]
    action: dict[str, str]
    place: dict[str, str]
    time: dict[str, str]
    shot: dict[str, str]
    animal: dict[str, str]
    prop: dict[str, str]

    def word(self, attribute: str, concept: str) -> str:
        """Return the concept's canonical wording.

        Raises:
            WeightsInvalid: this vocabulary lacks the concept.
        """
        words: dict[str, str] = getattr(self, attribute)
        if concept not in words:
            raise WeightsInvalid(f"the vocabulary lacks {attribute} {concept!r}; it has {', '.join(words) or 'none'}")
        return words[concept]

    @cached_property
    def things(self) -> tuple[str, ...]:
        """Return the wordings of all animals and props."""
        return (*self.animal.values(), *self.prop.values())


def load_vocabulary(profile: Profile) -> Vocabulary | None:
    """Return the words that this profile's base knows, or None for no limit.

    Raises:
        WeightsInvalid: the file is missing or broken.
    """
    if profile.vocabulary is None:
        return None
    path = Path(profile.vocabulary)
    try:
        return Vocabulary.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsInvalid(f"vocabulary {path}: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise WeightsInvalid(f"vocabulary {path}: {where}: {error.errors()[0]['msg']}") from None


def with_article(phrase: str) -> str:
    """Return `phrase` with its indefinite article."""
    return f"{'an' if phrase[0].lower() in 'aeiou' else 'a'} {phrase}"


PLAIN = Vocabulary(
    kind={name: name for name in ("young man", "old man", "woman", "boy", "merchant", "khan")},
    robe={name: f"{name} robe" for name in ("red", "orange", "yellow", "green", "blue", "purple", "brown", "white")},
    hat={name: name for name in ("fur hat", "turban", "skullcap", "straw hat", "crown")},
    action={
        "standing": "is standing",
        "walking": "is walking",
        "running": "is running",
        "sitting": "is sitting",
        "sleeping": "is sleeping",
        "waving": "is waving",
        "talking": "is talking to",
        "giving": "is giving {prop} to",
        "bargaining": "is bargaining with",
        "riding": "is riding {animal}",
    },
    place={
        "bazaar": "bazaar",
        "yurts": "among yurts",
        "steppe": "in the steppe",
        "mountains": "in the mountains",
        "river": "by the river",
        "inside a yurt": "inside a yurt",
    },
    time={"day": "by day", "sunset": "at sunset", "night": "at night"},
    shot={"near": "near shot", "middle": "middle shot", "far": "far shot"},
    animal={name: f"a {name}" for name in ("horse", "donkey", "sheep", "camel", "dog")},
    prop={
        "sack of gold": "a sack of gold",
        "carpet": "a carpet",
        "cauldron": "a cauldron",
        "coat full of holes": "a coat full of holes",
        "bread": "bread",
    },
)
"""The offline writer's wordings for a base without a vocabulary."""
