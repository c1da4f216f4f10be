"""A screenplay's beats as scenes: one panel a beat, by rule."""

from __future__ import annotations

import re
from pathlib import Path

from models.errors import InputError
from models.language.lexicon import HERO, read
from models.language.panels import HERO_NAME, panel_of
from models.language.roles import HATS
from models.language.vocabulary import PLAIN, Vocabulary, load_vocabulary, with_article
from models.profiles import Profile
from models.records import MAX_FRAMES, CastMember, Scene, SceneBreakdown, Speech, Story
from models.screenplay.beats import Beat, Screenplay, read_screenplay
from models.shots import DISTANCES, Distance, read_framing

WRITER = "screenplay/1"
CAST_MOST = 3
"""People besides the hero in a picture of a base without a vocabulary."""
_HEADING = re.compile(r"^(?P<inside>INT|I/E)?[A-Z./]*[.\s]+(?P<rest>.*)$", re.IGNORECASE)
_TIME = re.compile(r"\s[-–—]\s*([^-–—]+)$")
_TIMES = {
    "day": r"\bday\b|morning|noon|\bдень|\bдн[её]м|утр|күндіз|таң",
    "sunset": r"evening|dusk|dawn|sunrise|вечер|рассвет|кеш",
    "night": r"night|midnight|ноч|түн",
}
"""Time -> words of a heading that the offline writer's lists do not have."""
_VERBS = {
    "riding": r"\brid(?:e|es|ing)\b|\brode\b|скач|едет верхом|мініп",
    "running": r"\brun(?:s|ning)?\b|\bran\b|\bflee|беж|бег|жүгір",
    "sleeping": r"\bsleep|\bsnor|спит|ұйықта",
    "sitting": r"\bsit(?:s|ting)?\b|\bsat\b|сид|садит|отыр",
    "waving": r"\bwav(?:e|es|ing)\b|маш",
    "walking": r"\bwalk|\benter|\bcome|\bgo(?:es)?\b|идет|идёт|входит|жүр|кіред",
}
"""Action -> words of a screenplay for it."""


def write_scenes(file: str | Path, profile: Profile) -> tuple[SceneBreakdown, tuple[str, ...]]:
    """Return the screenplay's scenes, one a beat, and the headings of its empty scenes.

    The hero is in every picture, as the profile paints no other. Everybody else who speaks is in the cast, dressed by
    rule. A base with a vocabulary is told the nearest that it knows.

    Raises:
        InputError: the file is no screenplay, or has more beats than a storyboard has frames.
        StorageError: it can't be read.
        WeightsInvalid: the profile's vocabulary is missing or broken.
    """
    play = read_screenplay(file)
    if len(play.beats) > MAX_FRAMES:
        over = play.beats[MAX_FRAMES]
        raise InputError(
            f"{file}: has {len(play.beats)} beats (actions and exchanges), a storyboard at most {MAX_FRAMES} frames; "
            f"frame {MAX_FRAMES + 1} would be in {over.heading or 'its first scene'!r}: split the file"
        )
    vocabulary = load_vocabulary(profile)
    cast = _cast(play, vocabulary or PLAIN)
    scenes: list[Scene] = []
    for number, beat in enumerate(play.beats, start=1):
        scenes.append(_scene(number, beat, cast, vocabulary, scenes[-1].time if scenes else None))
    seen = {name for scene in scenes for name in scene.cast}
    breakdown = SceneBreakdown(
        story=Story(text=play.title[:2000]),
        writer=WRITER,
        title=play.title[:120],
        cast=tuple(member for member in cast.values() if member.name in seen),
        scenes=tuple(scenes),
    )
    return breakdown, play.empty


def _cast(play: Screenplay, vocabulary: Vocabulary) -> dict[str, CastMember]:
    """Return everybody besides the hero who speaks, by the name in capitals."""
    found: dict[str, CastMember] = {}
    robes = list(vocabulary.robe.values())
    for speech in (speech for beat in play.beats for speech in beat.speeches):
        if speech.name in found or HERO.search(speech.name):
            continue
        people = read(speech.name).people
        kind = people[0].concept if people else "young man"
        name = f"the {kind}" if people else speech.name.title()[:60]
        if name in {member.name for member in found.values()}:
            name = speech.name.title()[:60]
        robe, hat = with_article(robes[len(found) % len(robes)]), with_article(vocabulary.word("hat", HATS[kind][0]))
        person = with_article(vocabulary.word("kind", kind))
        found[speech.name] = CastMember(name=name, description=f"{person} in {robe} and {hat}")
    return found


def _scene(
    number: int, beat: Beat, cast: dict[str, CastMember], vocabulary: Vocabulary | None, before: str | None
) -> Scene:
    others = _others(beat, cast)[: CAST_MOST if vocabulary is None else 1]
    words = vocabulary or PLAIN
    distance = _distance(number, beat)
    concept = _concept(beat, talks=bool(others))
    place, time = _place_and_time(beat.heading, vocabulary, before)
    speeches = [
        Speech(speaker=cast[said.name].name if said.name in cast else HERO_NAME, text=said.text[:500])
        for said in beat.speeches
    ]
    panel = panel_of(number, concept, distance, speeches, alone=not others)
    manners = "; ".join(f"{said.name.title()}: {said.manner}" for said in beat.speeches if said.manner)
    return Scene(
        number=number,
        caption=(beat.action or f"{speeches[0].speaker}: “{speeches[0].text}”")[:300],
        action=_action(beat, concept, others, vocabulary),
        cast=tuple(member.name for member in others),
        place=place,
        time=time,
        shot=words.word("shot", distance),
        panel=panel.model_copy(update={"notes": manners[:1000]}),
    )


def _others(beat: Beat, cast: dict[str, CastMember]) -> list[CastMember]:
    """Return those who speak, then those whom the action names."""
    speaking = [said.name for said in beat.speeches if said.name in cast]
    named = [name for name in cast if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", beat.action, re.IGNORECASE)]
    return [cast[name] for name in dict.fromkeys([*speaking, *named])]


def _distance(number: int, beat: Beat) -> Distance:
    said = read_framing(beat.action).size
    if said is not None and re.search(r"\b(?:close|wide|angle|shot)\b", beat.action, re.IGNORECASE):
        return DISTANCES[said] if number > 1 or DISTANCES[said] != "far" else "middle"
    if beat.opens:
        return "far" if number > 1 and not beat.speeches else "middle"
    return "near" if beat.speeches else "middle"


def _concept(beat: Beat, *, talks: bool) -> str:
    if talks:
        return "talking"
    plain = beat.action.casefold()
    return next((concept for concept, words in _VERBS.items() if re.search(words, plain)), "standing")


def _action(beat: Beat, concept: str, others: list[CastMember], vocabulary: Vocabulary | None) -> str:
    """Return what the hero does: the beat's own words without his name, or the nearest that the vocabulary has."""
    own = re.split(r"(?<=[.!?…])\s", HERO.sub("", beat.action).strip(" ,"), maxsplit=1)[0].rstrip(".!?…")
    if vocabulary is None and own:
        own = own if HERO.match(beat.action) else f"is seen while {own}"
        return own if len(own) <= 200 else own[: own.rfind(" ", 0, 200)]
    words = vocabulary or PLAIN
    if others:
        return f"{words.word('action', 'talking')} {others[0].name}"
    if concept == "riding":
        animals = read(beat.action).animals
        animal = animals[0].concept if animals and animals[0].concept in ("horse", "donkey", "camel") else "horse"
        return words.word("action", "riding").format(animal=words.word("animal", animal))
    return words.word("action", "standing" if concept == "talking" else concept)


def _place_and_time(heading: str, vocabulary: Vocabulary | None, before: str | None) -> tuple[str, str]:
    parts = _HEADING.match(heading)
    rest = parts["rest"] if parts else heading
    inside = bool(parts and parts["inside"])
    found, words = read(heading), vocabulary or PLAIN
    said = _TIME.search(f" {rest}")
    named = said[1].strip().casefold() if said else ""
    when = [*found.times, *(time for time, marks in _TIMES.items() if re.search(marks, named))]
    time = words.word("time", when[0]) if when else before or words.word("time", "day")
    if vocabulary is None and named and not when:
        time = named[:40]
    own = _TIME.sub("", f" {rest}").strip(" .").casefold()[:80]
    if vocabulary is None and own:
        return own, time
    concept = found.places[0] if found.places else "inside a yurt" if inside else "steppe"
    return words.word("place", concept), time
