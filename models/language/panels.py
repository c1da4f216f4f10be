"""What the offline writer's panels say besides the picture, by rule."""

from __future__ import annotations

from collections.abc import Sequence

from models.language.speech import Quote
from models.records import Panel, Scene, Speech
from models.shots import Movement, ShotSize

HERO_NAME = "Aldar Köse"
MOVING = ("walking", "running", "riding")
SPEAKING = ("talking", "bargaining", "giving", "waving")
MOST_SPEECHES = 12
WORDS_A_SECOND = 2.5
LEAST_SECONDS, MOVING_SECONDS, FAR_SECONDS = 3.0, 4.0, 4.0
SPEECH_PAUSE = 1.0
"""Seconds in which nobody speaks yet or any more."""


def panel_of(number: int, action: str, shot: str, speeches: Sequence[Speech], *, alone: bool) -> Panel:
    """Return the panel of a scene: its size from its shot, a pan with what moves, seconds from action and speech.

    Args:
        number: of the scene.
        action: a concept, such as "riding".
        shot: a concept: near, middle or far.
        speeches: what is said.
        alone: whether the hero is alone in the picture.
    """
    sizes: dict[str, ShotSize] = {"near": "CU" if alone else "MCU", "middle": "MS", "far": "WS"}
    movement: Movement = "pan" if action in MOVING else "static"
    return Panel(
        shot_number=str(number),
        shot_size=sizes[shot],
        movement=movement,
        dialogue=tuple(speeches),
        seconds=_seconds(action, shot, speeches),
    )


def _seconds(action: str, shot: str, speeches: Sequence[Speech]) -> float:
    """Return the seconds for what happens or, if that takes longer, for what is said; in steps of half a second."""
    seen = max(LEAST_SECONDS, MOVING_SECONDS * (action in MOVING), FAR_SECONDS * (shot == "far"))
    words = sum(len(speech.text.split()) for speech in speeches)
    said = words / WORDS_A_SECOND + SPEECH_PAUSE * bool(words)
    return max(seen, round(2 * said) / 2)


def share_out(quotes: Sequence[Quote], scenes: Sequence[tuple[Scene, str]]) -> dict[int, list[Speech]]:
    """Return the quotations by the number of the scene in which they are said, in the story's order.

    A quotation goes to the first scene, from that of the one before on, in which its speaker is seen and people speak,
    else in which the speaker is seen at all. Somebody who is not seen from there on speaks in the last scene reached.

    Args:
        quotes: the story's speech.
        scenes: each with the concept of its action.
    """
    found: dict[int, list[Speech]] = {}
    at = 0
    for quote in quotes:
        name = f"the {quote.speaker}" if quote.speaker else HERO_NAME
        seen = [index for index in range(at, len(scenes)) if not quote.speaker or name in scenes[index][0].cast]
        speaking = [index for index in seen if scenes[index][1] in SPEAKING]
        at = next(iter(speaking or seen), at)
        speeches = found.setdefault(scenes[at][0].number, [])
        if len(speeches) < MOST_SPEECHES:
            speeches.append(Speech(speaker=name, text=quote.text))
    return found
