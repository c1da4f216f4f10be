"""Reads a board's scene_breakdown.json after somebody edited it.

Panels may be changed, inserted, removed and moved. Their numbers are assigned again in the file's order; a number in
the file says only which of the board's panels this was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from models.errors import InputError
from models.records import MAX_FRAMES, CastMember, Panel, Record, Scene, SceneBreakdown, Speech, Story
from models.settings import suggest
from models.shots import read_framing
from models.storage.files import local_errors

PARTS: dict[str, type[BaseModel]] = {
    "scenes": Scene,
    "panel": Panel,
    "dialogue": Speech,
    "cast": CastMember,
    "story": Story,
}
"""Field -> the record that it holds."""
SHOWN = 80  # characters of a wrong value


class EditedScenes(Record):
    """The edited scenes, and which of the board's panels each was."""

    breakdown: SceneBreakdown
    origins: tuple[int | None, ...]
    """For each scene the number of its panel on the board; None for an inserted one."""


def read_edited(file: Path, before: Sequence[Scene]) -> EditedScenes:
    """Return the scenes in this file.

    Args:
        file: the board's scene_breakdown.json.
        before: the board's scenes.

    Raises:
        InputError: it is no valid breakdown; the message names file, place, value and what is valid.
        StorageError: it can't be read.
    """
    parts = _parse(file)
    scenes = parts["scenes"]
    origins, copied = _origins(scenes, len(before))
    for number, (scene, origin) in enumerate(zip(scenes, origins, strict=True), start=1):
        model = before[(origin or copied.get(number, 0)) - 1] if origin or number in copied else None
        if model is not None:
            _let_the_edited_one_win(scene, model)
    _assign_shot_numbers(scenes, origins, before)
    for number, scene in enumerate(scenes, start=1):
        scene["number"] = number
    try:
        return EditedScenes(breakdown=SceneBreakdown.model_validate(parts), origins=tuple(origins))
    except ValidationError as error:
        raise InputError(f"{file}: {_first_problem(error)}") from None


def _parse(file: Path) -> dict[str, Any]:
    """Return the file's JSON object, whose scenes are 1 to 24 objects."""
    with local_errors(file):
        data = file.read_bytes()
    try:
        parts = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_each_name_once)
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{file}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: {error}") from None
    scenes = parts.get("scenes") if isinstance(parts, dict) else None
    if not isinstance(scenes, list) or not 1 <= len(scenes) <= MAX_FRAMES:
        got = f"{len(scenes)}" if isinstance(scenes, list) else _short(scenes)
        raise InputError(f"{file}: scenes: 1 to {MAX_FRAMES} scenes are needed, got {got}")
    for number, scene in enumerate(scenes, start=1):
        if not isinstance(scene, dict):
            raise InputError(f"{file}: scene {number}: an object with its fields is needed, got {_short(scene)}")
        if not isinstance(scene.setdefault("panel", {}), dict):
            raise InputError(f"{file}: scene {number}, panel: an object is needed, got {_short(scene['panel'])}")
        given = scene.get("number")
        if isinstance(given, bool) or not isinstance(given, int | None):
            raise InputError(
                f"{file}: scene {number}, number: the panel's number on the board, or null for a new one, is needed, "
                f"got {_short(given)}"
            )
    return {**parts, "scenes": scenes}


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name in found if [other for other, _ in pairs].count(name) > 1)
        raise ValueError(f"{twice!r} is given twice in one object; keep one")
    return found


def _origins(scenes: Sequence[dict[str, Any]], count: int) -> tuple[list[int | None], dict[int, int]]:
    """Return each scene's panel on the board, and for repeated numbers the panel that was copied, by new number."""
    origins: list[int | None] = []
    copied: dict[int, int] = {}
    for place, scene in enumerate(scenes, start=1):
        number: int | None = scene.get("number")
        known = number is not None and 1 <= number <= count
        if number is not None and known and number in origins:
            copied[place] = number
        origins.append(number if known and number not in origins else None)
    return origins, copied


def _let_the_edited_one_win(scene: dict[str, Any], before: Scene) -> None:
    """If only the words of the shot were edited, let size and angle follow them."""
    panel = scene["panel"]
    size, angle = (panel.get(name, getattr(before.panel, name)) for name in ("shot_size", "angle"))
    if scene.get("shot") != before.shot and (size, angle) == (before.panel.shot_size, before.panel.angle):
        panel |= read_framing(str(scene.get("shot"))).as_panel()


def _assign_shot_numbers(scenes: list[dict[str, Any]], origins: list[int | None], before: Sequence[Scene]) -> None:
    """Give each panel of the board its old shot number, and inserted ones without one a new one: 2A after 2.

    After the board's last panel, and before its first, the next whole number is taken.
    """
    numbers: list[str | None] = []
    for scene, origin in zip(scenes, origins, strict=True):
        given = scene["panel"].get("shot_number")
        if origin is not None:
            given = given or before[origin - 1].panel.shot_number or str(origin)
        elif given in numbers and scene.get("number") is not None:
            given = None  # a copy, which was inserted with everything that it had
        numbers.append(given)
    last = max((index for index, origin in enumerate(origins) if origin), default=-1)
    for index, given in enumerate(numbers):
        taken = {number for number in numbers if isinstance(number, str)}
        if given is None:
            before_it = numbers[index - 1] if 0 < index <= last else None
            numbers[index] = next(number for number in _after(before_it, taken) if number not in taken)
        scenes[index]["panel"]["shot_number"] = numbers[index]


def _after(number: str | None, taken: set[str]) -> Iterator[str]:
    """Yield the shot numbers that may follow this one: 2A, 2B, … 2Z, 2AA, …; whole numbers for None."""
    highest = max((int(digits) for each in taken if (digits := each.rstrip(_LETTERS)).isdecimal()), default=0)
    if isinstance(number, str):
        digits = number.rstrip(_LETTERS)
        yield from (f"{digits}{letter}" for letter in _LETTERS if letter > number[len(digits) :])
        yield from (f"{digits}{one}{two}" for one in _LETTERS for two in _LETTERS)
    yield from (str(highest + more) for more in range(1, MAX_FRAMES + 1))


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _first_problem(error: ValidationError) -> str:
    """Return the first problem in words: place, value, what is valid."""
    item = error.errors()[0]
    place, got = _place(item["loc"]), _short(item["input"])
    if item["type"] == "literal_error":
        return f"{place}: got {got}; valid values: {item['ctx']['expected'].replace(' or ', ', ')}"
    if item["type"] == "extra_forbidden":
        record = _record_at(item["loc"][:-1])
        return f"{place}: unknown field{suggest(str(item['loc'][-1]), list(record.model_fields))}"
    if item["type"] == "missing":
        return f"{place}: is missing"
    words = item["msg"].removeprefix("Value error, ")
    return f"{place}: {words}, got {got}" if item["loc"] else words


def _place(where: tuple[int | str, ...]) -> str:
    """Return a place in the file as people count: "scene 2, panel.dialogue.1.text"."""
    names = [str(part + 1) if isinstance(part, int) else part for part in where]
    if len(names) > 1 and names[0] == "scenes":
        names = [f"scene {names[1]}", *names[2:]]
        return ", ".join(filter(None, (names[0], ".".join(names[1:]))))
    return ".".join(names)


def _record_at(where: tuple[int | str, ...]) -> type[BaseModel]:
    names = [part for part in where if isinstance(part, str)]
    return PARTS.get(names[-1], SceneBreakdown) if names else SceneBreakdown


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
