"""Captions: free, short English descriptions of scenes, with the attributes that each names."""

from __future__ import annotations

import random

from steppe import strangers
from steppe.world import ATTRIBUTES, NONE, PAIR_ACTIONS, Person, Scene

TRIGGER = "aldar_kose_man"
"""The hero's trigger word; captions contain no other description of him."""

KIND: dict[str, tuple[str, ...]] = {
    "young man": ("young man", "young fellow", "youth"),
    "old man": ("old man", "elder", "grandfather", "white-bearded man"),
    "woman": ("woman", "lady", "woman with braids"),
    "boy": ("boy", "little boy", "child"),
    "merchant": ("merchant", "trader", "fat merchant"),
    "khan": ("khan", "ruler", "mighty khan"),
}
ROBE: dict[str, tuple[str, ...]] = {
    colour: tuple(f"{colour} {cloth}" for cloth in ("robe", "coat", "gown")) for colour in ATTRIBUTES["robe"]
}
HAT: dict[str, tuple[str, ...]] = {
    "fur hat": ("fur hat", "fur cap", "hat of fur"),
    "turban": ("turban", "wrapped turban", "pink turban"),
    "skullcap": ("skullcap", "small green cap", "embroidered skullcap"),
    "straw hat": ("straw hat", "hat of straw", "wide straw hat"),
    "crown": ("crown", "golden crown", "gold crown"),
}
WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "kind": KIND,
    "robe": ROBE,
    "hat": HAT,
    "action": {
        "standing": ("is standing", "stands", "stands still", "stands and looks around"),
        "walking": ("is walking", "walks", "goes on foot", "walks along"),
        "running": ("is running", "runs", "runs fast", "hurries away"),
        "sitting": ("is sitting", "sits", "sits cross-legged", "is sitting down"),
        "sleeping": ("is sleeping", "sleeps", "lies asleep", "is asleep"),
        "waving": ("is waving", "waves", "waves a hand", "greets with a raised hand"),
        "talking": ("is talking to", "speaks with", "is chatting with", "talks with"),
        "giving": ("is giving {prop} to", "gives {prop} to", "hands {prop} to", "is handing {prop} to"),
        "bargaining": ("is bargaining with", "haggles with", "bargains with", "trades with"),
        "riding": ("is riding {animal}", "rides {animal}", "rides on {animal}", "travels on {animal}"),
    },
    "place": {
        "bazaar": ("bazaar", "at the bazaar", "in a market", "among the market stalls"),
        "yurts": ("among yurts", "in a village of yurts", "near white yurts", "yurts"),
        "steppe": ("in the steppe", "on the open steppe", "grassland", "in the wide grassland"),
        "mountains": ("in the mountains", "snowy mountains", "under snowy peaks", "mountains"),
        "river": ("by the river", "at the river bank", "near a river", "beside blue water"),
        "inside a yurt": ("inside a yurt", "in a yurt by the hearth", "indoors in a yurt", "in the yurt"),
    },
    "time": {
        "day": ("by day", "in daylight", "on a sunny day", "daytime"),
        "sunset": ("at sunset", "in the evening light", "at dusk", "sunset"),
        "night": ("at night", "under the moon", "by moonlight", "night"),
    },
    "shot": {
        "near": ("near shot", "close-up", "seen from near", "close view"),
        "middle": ("middle shot", "full figure", "seen from a few steps", "medium shot"),
        "far": ("far shot", "wide view", "seen from far away", "long shot"),
    },
    "animal": {
        "horse": ("a horse", "a brown horse", "a steed"),
        "donkey": ("a donkey", "a grey donkey", "a little donkey"),
        "sheep": ("a sheep", "a white sheep", "a woolly sheep"),
        "camel": ("a camel", "a camel with two humps", "a sandy camel"),
        "dog": ("a dog", "a shepherd dog", "a friendly dog"),
    },
    "prop": {
        "sack of gold": ("a sack of gold", "a bag of gold", "a sack full of coins"),
        "carpet": ("a carpet", "a rug", "a patterned carpet"),
        "cauldron": ("a cauldron", "an iron pot", "a black kettle"),
        "coat full of holes": ("a coat full of holes", "a torn coat", "a ragged coat"),
        "bread": ("bread", "round bread", "fresh bread"),
    },
    "kind2": KIND,
    "robe2": ROBE,
    "hat2": HAT,
}
"""Attribute -> value -> its wordings; the first is the canonical one. `{prop}` and `{animal}` are filled in."""

CLOTHED = {
    ("robe", "hat"): (
        "in {robe} and {hat}",
        "wearing {robe} and {hat}",
        "with {hat} and {robe}",
        "in {hat} and {robe}",
    ),
    ("robe",): ("in {robe}", "wearing {robe}", "dressed in {robe}"),
    ("hat",): ("in {hat}", "wearing {hat}", "with {hat}"),
    (): ("",),
}
BESIDE = ("{} stands behind", "{} stands near", "with {}", "beside {}", "{} waits")
LYING = ("{} on the ground", "{} lies in front", "with {}", "{} in front", "next to {}")
STYLES = ("storybook illustration", "flat storybook drawing", "bold outlines", "a picture from a tale", "soft colours")
OPENINGS = ("a drawing of", "a storybook picture of", "an illustration of", "a picture of")
FEWEST_WORDS = 8
MOST_WORDS = 45
LEFT_OUT = 0.17


def article(phrase: str) -> str:
    """Return `phrase` with its indefinite article."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


class Teller:
    """Writes a scene's caption, and collects in `told` the attributes that it names."""

    def __init__(self, scene: Scene, rng: random.Random) -> None:
        self.scene = scene
        self.rng = rng
        self.told: set[str] = set()
        optional = ["place", "time", "shot", "robe", "hat", "robe2", "hat2", "action"]
        optional += ["animal"] * (scene.animal is not None) + ["prop"] * (scene.prop is not None)
        if rng.random() < 0.1:  # a few captions are very short, as people's prompts are
            self.kept = set(rng.sample(optional, 2))
        else:
            self.kept = {key for key in optional if rng.random() > LEFT_OUT * (0.4 if key == "action" else 1.0)}
        if any(person.aldar for person in scene.people):  # Aldar's few captions always name the action
            self.kept.add("action")

    def words(self, key: str, value: str) -> str:
        """Return one wording of a value, and mark the attribute as told."""
        self.told.add(key)
        return self.rng.choice(WORDINGS[key][value])

    def worn(self, key: str, value: str, person: Person) -> str:
        """Return the words for a hat or a robe. A stranger's robe is not in ATTRIBUTES, so it is not marked as told."""
        if person.costume is not None and key.startswith("robe"):
            return strangers.wording(person.costume, self.rng)
        return self.words(key, value)

    def person(self, person: Person, suffix: str) -> str:
        """Return the words for a person and their clothes."""
        if person.aldar:
            return TRIGGER
        worn = {"robe": person.robe, "hat": person.hat}
        named = tuple(key for key in worn if key + suffix in self.kept)
        clothes = {key: article(self.worn(key + suffix, worn[key], person)) for key in named}
        kind = article(self.words("kind" + suffix, person.kind))
        return f"{kind} {self.rng.choice(CLOTHED[named]).format(**clothes)}".strip()

    def doing(self) -> str:
        """Return the action's words, with the prop that is given or the animal that is ridden."""
        scene = self.scene
        held = {"prop": "something", "animal": "an animal"}
        for key, action in (("prop", "giving"), ("animal", "riding")):
            value = getattr(scene, key)
            if scene.action == action and value and key in self.kept:
                held[key] = self.words(key, value)
        return self.words("action", scene.action).format(**held)

    def says_sides(self) -> bool:
        """Return whether to name both sides: always with Aldar on the right, never with him on the left."""
        first, second = (person.aldar for person in self.scene.people)
        return second or (not first and self.rng.random() < 0.12)

    def people(self) -> str:
        """Return the words for the people and their action, the main person first."""
        names = [self.person(person, suffix) for person, suffix in zip(self.scene.people, ("", "2"), strict=False)]
        if len(names) == 2 and self.says_sides():
            names = [f"{name} on the {side}" for name, side in zip(names, ("left", "right"), strict=True)]
        if "action" in self.kept:
            return " ".join([names[0], self.doing(), *names[1:]])
        return " and ".join(names)

    def surroundings(self) -> list[str]:
        """Return the words for everything but the people, each thing at most once, in random order."""
        scene = self.scene
        parts = [self.words(key, getattr(scene, key)) for key in ("place", "time", "shot") if key in self.kept]
        for key, frames in (("animal", BESIDE), ("prop", LYING)):
            value = getattr(scene, key)
            if value and key in self.kept and key not in self.told:
                riding = key == "animal" and scene.action == "riding"
                handed = key == "prop" and scene.action in PAIR_ACTIONS
                frame = "with {}" if riding or handed else self.rng.choice(frames)
                parts.append(frame.format(self.words(key, value)))
        self.rng.shuffle(parts)
        return parts

    def tell(self) -> str:
        """Return the caption."""
        people = self.people()
        parts = self.surroundings()
        if any(person.aldar for person in self.scene.people):
            parts.insert(0, people)
        else:
            opening = f"{self.rng.choice(OPENINGS)} " if self.rng.random() < 0.15 else ""
            parts.insert(self.rng.randint(0, len(parts)) if not opening else 0, opening + people)
        styles = self.rng.sample(STYLES, len(STYLES))
        if self.rng.random() < 0.15:
            parts.append(styles.pop())
        while len(" ".join(parts).split()) < FEWEST_WORDS:
            parts.append(styles.pop())
        return ", ".join(parts)


def caption_with_truth(scene: Scene, rng: random.Random) -> tuple[str, frozenset[str]]:
    """Return a caption of `scene` and the keys of ATTRIBUTES whose values it names (never a value of `none`)."""
    while True:  # a second try is rare: only a pair with everything named in the longest words is too long
        teller = Teller(scene, rng)
        text = teller.tell()
        if len(text.split()) <= MOST_WORDS:
            return text, frozenset(teller.told)


def caption(scene: Scene, rng: random.Random) -> str:
    """Return a lowercase caption of 8 to 45 words. It may omit facts, but never states a wrong one."""
    return caption_with_truth(scene, rng)[0]


assert all(set(WORDINGS[key]) == set(values) - {NONE} for key, values in ATTRIBUTES.items())
