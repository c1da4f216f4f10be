"""Shapes of tales: the moments of each, and the choice of a shape by a sentence's concepts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from models.language.lexicon import Named

MAX_CORE = 6


@dataclass(frozen=True)
class Beat:
    """One moment of a tale, in roles."""

    key: str
    """Key of its caption."""
    action: str
    place: str
    """A role (scene, road, away, home, inside) or a place itself."""
    shot: str
    thing: str = ""
    """A role (bait, prize, loan, mount) or an animal or prop itself."""
    who: str = ""
    """foe, friend0, friend1 …; empty if the hero is alone."""
    time: int = 0
    """0 day, 1 sunset, 2 night; never before the previous moment's."""


@dataclass(frozen=True)
class Shape:
    """A kind of trick, in six moments."""

    name: str
    trick: int
    """Index of the most important moment: the only one of a storyboard with one frame."""
    scene: str
    """Place of the trick if the sentence names none."""
    bait: str
    """The thing used in the trick if the sentence names none."""
    bait_is_fixed: bool
    """Whether the captions name this thing, so that no other can be used."""
    suits: dict[str, int]
    """Concept -> how strongly it suggests this shape."""
    beats: tuple[Beat, ...]


SHAPES = (
    Shape("swap", 3, "steppe", "coat full of holes", True, {"coat full of holes": 6}, (
        Beat("swap_coat", "standing", "road", "near", "bait"),
        Beat("swap_ride", "riding", "road", "middle"),
        Beat("swap_talk", "talking", "scene", "near", who="foe"),
        Beat("swap_haggle", "bargaining", "scene", "middle", "prize", "foe", 1),
        Beat("swap_give", "giving", "scene", "near", "bait", "foe", 1),
        Beat("swap_off", "riding", "away", "far", "prize", time=2),
    )),
    Shape("bargain", 3, "bazaar", "carpet", False, {"carpet": 3, "bazaar": 2, "merchant": 1}, (
        Beat("bargain_arrive", "walking", "scene", "middle"),
        Beat("bargain_wares", "sitting", "scene", "near", "bait"),
        Beat("bargain_talk", "talking", "scene", "middle", "mount", "foe"),
        Beat("bargain_price", "bargaining", "scene", "near", "bait", "foe", 1),
        Beat("bargain_deal", "giving", "scene", "middle", "bait", "foe", 1),
        Beat("bargain_off", "riding", "away", "far", "prize", time=2),
    )),
    Shape("race", 2, "steppe", "sack of gold", False, {"horse": 3, "camel": 2}, (
        Beat("race_mount", "standing", "scene", "near", "mount"),
        Beat("race_bet", "talking", "scene", "middle", "bait", "foe"),
        Beat("race_start", "riding", "scene", "middle"),
        Beat("race_run", "running", "away", "middle", time=1),
        Beat("race_pay", "bargaining", "home", "near", "prize", "foe", 1),
        Beat("race_off", "riding", "road", "far", "prize", time=2),
    )),
    Shape("feast", 3, "yurts", "cauldron", True, {"cauldron": 4, "bread": 2}, (
        Beat("feast_hungry", "walking", "road", "middle"),
        Beat("feast_door", "talking", "scene", "middle", who="foe"),
        Beat("feast_sit", "sitting", "inside", "near", "bait", time=1),
        Beat("feast_bread", "giving", "inside", "near", "bread", "foe", 1),
        Beat("feast_tale", "talking", "inside", "middle", "bait", "foe", 2),
        Beat("feast_wave", "waving", "scene", "far", "mount", time=2),
    )),
    Shape("gold", 1, "bazaar", "sack of gold", True, {"sack of gold": 3}, (
        Beat("gold_found", "standing", "scene", "near", "bait"),
        Beat("gold_whisper", "talking", "scene", "middle", who="foe"),
        Beat("gold_plant", "sitting", "away", "middle", "bait"),
        Beat("gold_harvest", "giving", "away", "near", "bait", "foe", 1),
        Beat("gold_sow", "bargaining", "home", "near", who="foe", time=1),
        Beat("gold_off", "riding", "road", "far", "bait", time=2),
    )),
    Shape("sleeper", 2, "yurts", "sack of gold", False, {"night": 2}, (
        Beat("sleeper_look", "standing", "scene", "near", "prize"),
        Beat("sleeper_boast", "talking", "scene", "middle", "prize", "foe", 1),
        Beat("sleeper_sleep", "sleeping", "inside", "middle", time=2),
        Beat("sleeper_tiptoe", "walking", "scene", "near", "prize", time=2),
        Beat("sleeper_dream", "bargaining", "home", "near", who="foe", time=2),
        Beat("sleeper_off", "riding", "away", "far", "prize", time=2),
    )),
    Shape("borrow", 4, "yurts", "cauldron", False, {"donkey": 3, "sheep": 4, "dog": 4, "camel": 2, "cauldron": 2}, (
        Beat("borrow_poor", "standing", "road", "near"),
        Beat("borrow_ask", "talking", "scene", "middle", "loan", "foe"),
        Beat("borrow_home", "walking", "road", "middle", "loan"),
        Beat("borrow_gift", "giving", "scene", "near", "bread", "foe", 1),
        Beat("borrow_more", "bargaining", "scene", "middle", "loan", "foe", 1),
        Beat("borrow_off", "riding", "away", "far", time=2),
    )),
    Shape("riddle", 2, "yurts", "sack of gold", False, {"khan": 3}, (
        Beat("riddle_come", "walking", "road", "middle"),
        Beat("riddle_stand", "standing", "scene", "near", "prize"),
        Beat("riddle_tell", "talking", "scene", "near", who="foe"),
        Beat("riddle_sit", "sitting", "inside", "middle", time=1),
        Beat("riddle_pay", "bargaining", "scene", "near", "prize", "foe", 1),
        Beat("riddle_off", "riding", "away", "far", "prize", time=2),
    )),
    Shape("friend", 3, "bazaar", "carpet", False, {"second person": 3}, (
        Beat("friend_road", "walking", "road", "middle"),
        Beat("friend_tears", "talking", "home", "near", who="friend0"),
        Beat("friend_think", "sitting", "away", "near"),
        Beat("friend_shadow", "bargaining", "scene", "middle", "bait", "foe", 1),
        Beat("friend_give", "giving", "home", "near", "prize", "friend0", 1),
        Beat("friend_wave", "waving", "road", "far", "mount", time=2),
    )),
)  # fmt: skip

OPENINGS = (
    Beat("o_river", "sitting", "river", "middle"),
    Beat("o_ride", "riding", "road", "near"),
    Beat("o_lookout", "standing", "mountains", "middle"),
    Beat("o_bread", "sitting", "road", "near", "bread"),
    Beat("o_dog", "walking", "yurts", "middle", "dog"),
    Beat("o_wave", "waving", "steppe", "far"),
)
TURNS = (
    Beat("t_listen", "talking", "road", "near", who="foe"),
    Beat("t_leave", "walking", "scene", "near"),
    Beat("t_back", "bargaining", "away", "middle", "bait", "foe"),
    Beat("t_gift", "giving", "road", "middle", "bread", "foe"),
    Beat("t_wait", "sitting", "inside", "middle", "carpet"),
    Beat("t_run", "running", "scene", "middle"),
)
ENDINGS = (
    Beat("e_run", "running", "mountains", "middle"),
    Beat("e_again", "talking", "river", "middle", who="foe"),
    Beat("e_sleep", "sleeping", "steppe", "middle", "mount"),
    Beat("e_share", "sitting", "yurts", "near", "cauldron"),
    Beat("e_ford", "riding", "river", "middle"),
    Beat("e_wave", "waving", "yurts", "middle"),
)
MEETINGS = (
    Beat("m_ask", "talking", "road", "middle"),
    Beat("m_share", "giving", "home", "near", "bread"),
    Beat("m_news", "bargaining", "scene", "middle"),
)
"""Moments with further people whom the sentence names."""

Pick = Callable[[str, int], int]
"""(purpose, number of choices) -> an index, always the same for the same story."""


def choose_shape(named: Named, pick: Pick) -> Shape:
    """Return the shape that the named concepts suggest most; the story's hash decides between equal ones."""
    concepts = Counter(found.concept for found in (*named.people, *named.animals, *named.props))
    concepts.update((*named.places, *named.times))
    concepts["second person"] = max(0, len(named.people) - 1)
    cues = Counter(named.cues)
    scores = [
        (2 + min(cues[shape.name], 3)) * (shape.name in cues)
        + sum(weight for concept, weight in shape.suits.items() if concepts[concept])
        for shape in SHAPES
    ]
    best = [shape for shape, score in zip(SHAPES, scores, strict=True) if score == max(scores)]
    return best[pick("shape", len(best))]


def choose_beats(shape: Shape, frames: int, friends: int, pick: Pick) -> list[Beat]:
    """Return `frames` different moments of this shape, in order, each with its time of day."""
    core = _core(shape, min(frames, MAX_CORE))
    beats = _meet(_extend(core, frames - len(core), pick), friends, pick)
    time = 0
    timed = []
    for beat in beats:
        time = max(time, beat.time)
        timed.append(replace(beat, time=time))
    return timed


def _core(shape: Shape, count: int) -> list[Beat]:
    """Return the most important moments: the trick, the end, the beginning, then the rest."""
    ranked = [shape.trick, len(shape.beats) - 1, 0]
    ranked += [index for index in range(len(shape.beats)) if index not in ranked]
    return [shape.beats[index] for index in sorted(ranked[:count])]


def _meet(beats: list[Beat], friends: int, pick: Pick) -> list[Beat]:
    """Replace moments of the hero alone by a meeting with each named person whom the shape leaves out."""
    present = {beat.who for beat in beats}
    missing = [role for role in (f"friend{index}" for index in range(friends)) if role not in present]
    lonely = [index for index in range(1, len(beats) - 1) if not beats[index].who]
    met = list(beats)
    for order, (role, index) in enumerate(zip(missing, lonely, strict=False)):
        meeting = MEETINGS[(pick("meeting", len(MEETINGS)) + order) % len(MEETINGS)]
        met[index] = replace(meeting, who=role, time=beats[index].time)
    return met


def _extend(core: list[Beat], count: int, pick: Pick) -> list[Beat]:
    """Add `count` moments: on the way there, in the middle of the trick, and on the way home."""
    offset = pick("extras", len(OPENINGS))
    groups: list[list[Beat]] = [[], [], []]
    for order in range(max(count, 0)):
        group = order % 3
        extras = (TURNS, OPENINGS, ENDINGS)[group]
        groups[group].append(extras[(order // 3 + offset) % len(extras)])
    if not count:
        return core
    turns, openings, endings = groups
    return [core[0], *openings, *core[1:3], *_spread(turns, core[3:-1]), *endings, core[-1]]


def _spread(extras: Sequence[Beat], core: Sequence[Beat]) -> list[Beat]:
    """Return extras and core moments mixed; the core keeps its order and ends the list."""
    head = len(extras) // 2
    return [*extras[:head], *core[:1], *extras[head:], *core[1:]]
