"""The offline writer: turns any sentence into a tale of Aldar Köse, deterministically and without a network.

`lexicon` finds the people, animals, things, places and times that the steppe world can show. `tales` chooses a kind of
trick by them, and `roles` fills its roles. This module turns the trick's moments into different scenes.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product

from models.language.grammar import Noun
from models.language.left_out import find_left_out
from models.language.lexicon import Named, read
from models.language.panels import panel_of, share_out
from models.language.roles import MOUNTS, Roles, cast_roles
from models.language.speech import Quote, find_quotes
from models.language.tales import Beat, Pick, choose_beats, choose_shape
from models.language.vocabulary import PLAIN, Vocabulary, load_vocabulary
from models.profiles import Profile
from models.records import CastMember, Panel, Scene, SceneBreakdown, Story

VERSION = "3"
"""Part of cache keys: raise it with every change of what is written."""

TIMES = ("day", "sunset", "night")
SHOTS = ("near", "middle", "far")
PLACES = ("steppe", "yurts", "river", "mountains", "bazaar")
TITLE_MAX = 120
ACTIONS_INDOORS = ("walking", "standing", "sitting", "sleeping", "waving", "talking", "giving", "bargaining")


@dataclass
class Draft:
    """An unfinished scene, in concepts."""

    beat: Beat
    action: str
    place: str
    time: int
    shot: str
    animal: str | None = None
    prop: str | None = None
    unsaid: list[str] = field(default_factory=list)
    """Animals and props in the picture that the beat's caption does not mention."""

    def key(self) -> tuple[str, ...]:
        """Return the properties by which two scenes count as the same picture."""
        ridden = self.animal if self.action == "riding" else self.prop if self.action == "giving" else None
        return (self.action, ridden or "", self.beat.who, self.place, str(self.time), self.shot)


def write(story: Story, frames: int, profile: Profile) -> SceneBreakdown:
    """Return `frames` different scenes with a beginning, a trick and an end.

    Raises:
        WeightsInvalid: the profile's vocabulary is missing, broken or lacks a word.
    """
    vocabulary = load_vocabulary(profile) or PLAIN
    named = read(story.text)
    pick = _picker(story.text)
    shape = choose_shape(named, pick)
    roles = cast_roles(named, shape, vocabulary, pick)
    friends = sum(role != "foe" for role in roles.players)
    drafts = [_draft(beat, roles) for beat in choose_beats(shape, frames, friends, pick)]
    _show_named_things(drafts, named)
    _show_named_places(drafts, named)
    _set_times(drafts, named)
    _make_different(drafts)
    scenes = _with_panels(
        [_scene(number, draft, roles, named, vocabulary) for number, draft in enumerate(drafts, start=1)],
        drafts,
        find_quotes(story.text, named),
    )
    return SceneBreakdown(
        story=story,
        writer=f"offline/{VERSION}",
        title=_title(story.text),
        cast=_seen(roles, scenes),
        scenes=scenes,
        left_out=find_left_out(story.text, _shown(drafts, roles, named, scenes), shape.name),
    )


def _picker(text: str) -> Pick:
    """Return a function that makes choices by a hash of the story and of what is chosen."""

    def pick(what: str, count: int) -> int:
        digest = hashlib.sha256(f"{what}\n{text.casefold()}".encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % count

    return pick


def _draft(beat: Beat, roles: Roles) -> Draft:
    place = roles.places.get(beat.place, beat.place)
    draft = Draft(beat=beat, action=beat.action, place=place, time=beat.time, shot=beat.shot)
    thing = roles.things.get(beat.thing, beat.thing)
    if draft.action == "riding":
        draft.animal = roles.things["mount"]
    if thing in PLAIN.prop:
        draft.prop = thing
    elif thing and draft.animal is None:
        draft.animal = thing
    if draft.action == "giving" and draft.prop is None:  # an animal can't be held out, so it is given by talking
        draft.action = "talking"
    if draft.place == "inside a yurt" and not _fits_indoors(draft):
        draft.place = "yurts"
    return draft


def _fits_indoors(draft: Draft) -> bool:
    return draft.action in ACTIONS_INDOORS and draft.animal not in MOUNTS and draft.shot != "far"


def _show_named_things(drafts: list[Draft], named: Named) -> None:
    """Add each named animal and prop that no scene shows to a scene with room for it."""
    for animal in (found.concept for found in named.animals):
        if any(draft.animal == animal for draft in drafts):
            continue
        room = [d for d in drafts if d.animal is None and not (animal in MOUNTS and d.place == "inside a yurt")]
        if room:
            chosen = room[len(room) // 2]
            chosen.animal = animal
            chosen.unsaid.append(animal)
    for prop in (found.concept for found in named.props):
        room = [draft for draft in drafts if draft.prop is None]
        if room and not any(draft.prop == prop for draft in drafts):
            room[len(room) // 2].prop = prop
            room[len(room) // 2].unsaid.append(prop)


def _show_named_places(drafts: list[Draft], named: Named) -> None:
    """Move scenes to named places that no scene shows, first those that are not at a named place."""
    for place in named.places:
        shown = Counter(draft.place for draft in drafts)
        if shown[place]:
            continue
        for draft in sorted(drafts, key=lambda draft: draft.place in named.places):
            spare = draft.place not in named.places or shown[draft.place] > 1
            fits = place != "inside a yurt" or _fits_indoors(draft)
            if spare and fits and draft.beat.place in ("road", "away", "home", "scene"):
                draft.place = place
                break


def _set_times(drafts: list[Draft], named: Named) -> None:
    """Set the middle of the tale to the named time; earlier scenes are not later, later ones not earlier."""
    if not named.times:
        return
    when = TIMES.index(named.times[0])
    middle = len(drafts) // 2
    for index, draft in enumerate(drafts):
        draft.time = min(draft.time, when) if index < middle else max(draft.time, when)
    drafts[middle].time = when


def _make_different(drafts: list[Draft]) -> None:
    """Change the shot, then the place, of every scene that equals an earlier one."""
    if drafts[0].shot == "far":
        drafts[0].shot = "middle"
    seen: set[tuple[str, ...]] = set()
    for draft in drafts:
        for place, shot in product((draft.place, *PLACES), (draft.shot, *SHOTS)):
            if draft.key() not in seen:
                break
            draft.place, draft.shot = place, shot
        seen.add(draft.key())


def _scene(number: int, draft: Draft, roles: Roles, named: Named, vocabulary: Vocabulary) -> Scene:
    player = roles.players.get(draft.beat.who)
    animal = vocabulary.word("animal", draft.animal) if draft.animal else ""
    prop = vocabulary.word("prop", draft.prop) if draft.prop else ""
    action = vocabulary.word("action", draft.action).format(animal=animal, prop=prop)
    beside = [animal] if draft.action != "riding" else []
    beside += [prop] if draft.action != "giving" else []
    return Scene(
        number=number,
        caption=_caption(draft, roles, named),
        action=f"{action} {player.member.name}" if player else action,
        cast=(player.member.name,) if player else (),
        place=vocabulary.word("place", draft.place),
        time=vocabulary.word("time", TIMES[draft.time]),
        shot=vocabulary.word("shot", draft.shot),
        things=tuple(thing for thing in beside if thing),
    )


def _with_panels(scenes: list[Scene], drafts: list[Draft], quotes: list[Quote]) -> tuple[Scene, ...]:
    said = share_out(quotes, [(scene, draft.action) for scene, draft in zip(scenes, drafts, strict=True)])

    def panel(scene: Scene, draft: Draft) -> Panel:
        speeches = said.get(scene.number, [])
        return panel_of(scene.number, draft.action, draft.shot, speeches, alone=not scene.cast)

    return tuple(
        scene.model_copy(update={"panel": panel(scene, draft)}) for scene, draft in zip(scenes, drafts, strict=True)
    )


def _caption(draft: Draft, roles: Roles, named: Named) -> str:
    language = named.language
    nouns = {role: roles.nouns[thing] for role, thing in roles.things.items()}
    friend = roles.players.get(draft.beat.who, roles.players["foe"])
    sentence = language.captions[draft.beat.key].format(
        foe=roles.players["foe"].noun, friend=friend.noun, to=language.to[draft.place], **nouns
    )
    unsaid = [
        (language.stands if thing in PLAIN.animal else language.lies).format(it=roles.nouns[thing])
        for thing in draft.unsaid
    ]
    return _capitalised([sentence, *unsaid])


def _capitalised(sentences: Iterable[str]) -> str:
    """Join sentences, with a capital at the start of each."""
    text = " ".join(sentences)
    return re.sub(r"((?:^|[.!?]\s+)[«“]?)(\w)", lambda match: match[1] + match[2].upper(), text)


def _title(text: str) -> str:
    """Return the story, cut at a word if it is longer than `TITLE_MAX`."""
    if len(text) <= TITLE_MAX:
        return text
    head = text[: TITLE_MAX - 1]
    return (head[: head.rfind(" ")] if " " in head[TITLE_MAX // 2 :] else head) + "…"


def _seen(roles: Roles, scenes: Sequence[Scene]) -> tuple[CastMember, ...]:
    names = {name for scene in scenes for name in scene.cast}
    return tuple(player.member for player in roles.players.values() if player.member.name in names)


def _shown(drafts: Sequence[Draft], roles: Roles, named: Named, scenes: Sequence[Scene]) -> set[str]:
    """Return the concepts that the scenes show or tell of; of robes and hats, those of the people in the scenes."""
    present = [role for role in roles.players if any(draft.beat.who == role for draft in drafts)]
    worn = [index for index, role in enumerate(roles.players) if role in present]
    robes_and_hats = {
        concepts[index] for concepts in (named.robes, named.hats) for index in worn if index < len(concepts)
    }
    captions = " ".join(scene.caption for scene in scenes).casefold()
    people = {
        player.member.name.removeprefix("the ")
        for role, player in roles.players.items()
        if role in present or _is_mentioned(player.noun, captions)
    }
    told = {thing for thing in roles.things.values() if _is_mentioned(roles.nouns[thing], captions)}
    things = {thing for draft in drafts for thing in (draft.animal, draft.prop) if thing}
    return people | things | told | robes_and_hats | {part for d in drafts for part in (d.place, TIMES[d.time])}


def _is_mentioned(noun: Noun, captions: str) -> bool:
    return any(form.casefold() in captions for form in vars(noun).values())
