"""Parses and applies changes to the scenes, one per line, and shows the scenes as markdown.

2 caption: He sleeps.
3 cast: the merchant, the khan
2 shot size: CU
2 dialogue: Aldar: No. | the khan: Then ten horses!
title: The price of a nap
cast the khan: a khan in a white robe
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from models.board.markdown import escape
from models.errors import InputError
from models.records import Panel, Scene, SceneBreakdown
from models.settings import explain
from models.shots import read_framing

ACCEPT = "accept"
WORDS = ("caption", "action", "place", "time", "shot")
LISTS = ("cast", "things")
PANEL = ("shot size", "angle", "movement", "dialogue", "sound", "notes", "seconds", "shot number")
"""Parts of a scene's panel, by their fields' names without underscores."""
FIELDS = (*WORDS, *LISTS, *PANEL)
BETWEEN_SPEECHES = " | "
_CHANGE = re.compile(rf"({'|'.join(FIELDS)})\s*:\s*(.*)", re.IGNORECASE)
_SCENE = re.compile(rf"(?:scene\s+)?(\d+)\s+{_CHANGE.pattern}", re.IGNORECASE)
_TITLE = re.compile(r"title\s*:\s*(.*)", re.IGNORECASE)
_MEMBER = re.compile(r"cast\s+([^:]+?)\s*:\s*(.*)", re.IGNORECASE)


def edit_scenes(shown: SceneBreakdown, changes: str) -> SceneBreakdown:
    """Return the scenes with the changes applied.

    Args:
        shown: the scenes as shown.
        changes: one change per line; nothing, or the word accept, changes nothing.

    Raises:
        InputError: a line is no valid change, or the changed scenes are invalid; the message gives the reason.
    """
    lines = [line.strip() for line in changes.splitlines() if line.strip()]
    if [line.lower() for line in lines] == [ACCEPT]:
        lines = []
    parts = shown.model_dump(mode="json")
    for line in lines:
        _apply(parts, line)
    try:
        return SceneBreakdown.model_validate(parts)
    except ValidationError as error:
        raise InputError(explain(error, valid=SceneBreakdown.model_fields)) from None


def changed_scene(shown: SceneBreakdown, number: int, changes: Sequence[str]) -> Scene:
    """Return one of the scenes with these changes applied, each a field, a colon and the new text.

    Raises:
        InputError: one is no valid change of a scene, or the changed scene is invalid; the message gives the reason.
    """
    lines = [" ".join(change.split()) for change in changes]
    for line in lines:
        if not _CHANGE.fullmatch(line):
            raise InputError(
                f"{line!r} is no change: write one of {', '.join(FIELDS)}, a colon and the new text, "
                "such as shot size: CU"
            )
    return edit_scenes(shown, "\n".join(f"{number} {line}" for line in lines)).scenes[number - 1]


def _apply(parts: dict[str, Any], line: str) -> None:
    if found := _SCENE.fullmatch(line):
        number, name, value = int(found[1]), found[2].lower(), found[3]
        if not 1 <= number <= len(parts["scenes"]):
            raise InputError(f"scene {number}: the storyboard has scenes 1 to {len(parts['scenes'])}")
        _change_scene(parts["scenes"][number - 1], " ".join(name.split()), value)
    elif found := _TITLE.fullmatch(line):
        parts["title"] = found[1]
    elif found := _MEMBER.fullmatch(line):
        others = [member for member in parts["cast"] if member["name"] != found[1]]
        parts["cast"] = others + ([{"name": found[1], "description": found[2]}] if found[2] else [])
    else:
        raise InputError(
            f"{line!r} is no change: write a scene's number, one of {', '.join(FIELDS)}, a colon and the new text, "
            "such as 2 caption: He sleeps."
        )


def _change_scene(scene: dict[str, Any], name: str, value: str) -> None:
    if name not in PANEL:
        scene[name] = _listed(value) if name in LISTS else value
        scene["panel"] |= read_framing(value).as_panel() if name == "shot" else {}
    elif name == "dialogue":
        scene["panel"]["dialogue"] = [_speech(part) for part in value.split(BETWEEN_SPEECHES.strip()) if part.strip()]
    else:
        empty = "" if name in ("sound", "notes") else None
        scene["panel"][name.replace(" ", "_")] = value or empty


def _speech(text: str) -> dict[str, str]:
    speaker, colon, words = text.partition(":")
    if not colon:
        raise InputError(
            f"dialogue {text.strip()!r} has no speaker: write SPEAKER: WORDS, and a | before the next speaker"
        )
    return {"speaker": speaker.strip(), "text": words.strip()}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def scenes_markdown(breakdown: SceneBreakdown) -> str:
    """Return title, cast and scenes as markdown, labelled with the names that changes use."""
    return "\n\n".join("\n".join(part) for part in (_cast(breakdown), *_scenes(breakdown))) + "\n"


def _cast(breakdown: SceneBreakdown) -> Iterator[str]:
    yield f"**title:** {escape(breakdown.title)}\n"
    yield from (f"- **cast {escape(member.name)}:** {escape(member.description)}" for member in breakdown.cast)


def _scenes(breakdown: SceneBreakdown) -> Iterator[list[str]]:
    for scene in breakdown.scenes:
        values = {name: getattr(scene, name) for name in (*WORDS[1:], *LISTS)}
        texts = {name: value if isinstance(value, str) else ", ".join(value) for name, value in values.items()}
        texts |= {name: _shown(scene.panel, name) for name in PANEL}
        lines = [f"- **{name}:** {escape(text)}" for name, text in texts.items() if text]
        yield [f"### {scene.number}. {escape(scene.caption)}\n", *lines]


def _shown(panel: Panel, name: str) -> str:
    """Return a part of a panel as a change would write it."""
    if name == "dialogue":
        return BETWEEN_SPEECHES.join(f"{speech.speaker}: {speech.text}" for speech in panel.dialogue)
    if name == "seconds":
        return f"{panel.seconds:g}"
    return getattr(panel, name.replace(" ", "_")) or ""
