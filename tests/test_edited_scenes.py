"""An edited scene_breakdown.json: numbers, shot numbers, and what is said of mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.edited.scenes import read_edited
from models.errors import InputError
from models.records import Panel, Scene, SceneBreakdown, Story

Parts = dict[str, Any]
Found = tuple[list[str | None], tuple[int | None, ...]]


def scene(number: int, shot: str = "middle shot") -> Scene:
    parts = {"number": number, "caption": "c", "action": "is standing", "place": "x", "time": "y", "shot": shot}
    return Scene.model_validate(parts)


BEFORE = [scene(number) for number in (1, 2, 3)]


def written(tmp_path: Path, edit: Callable[[Parts], object] = lambda parts: None) -> Path:
    whole = SceneBreakdown(story=Story(text="t"), writer="offline/3", title="t", cast=(), scenes=tuple(BEFORE))
    parts = whole.model_dump(mode="json")
    edit(parts)
    file = tmp_path / "scene_breakdown.json"
    file.write_text(json.dumps(parts), "utf-8")
    return file


def panels(tmp_path: Path, edit: Callable[[list[Parts]], list[Parts]]) -> Found:
    def whole(parts: Parts) -> None:
        parts["scenes"] = edit(parts["scenes"])

    found = read_edited(written(tmp_path, whole), BEFORE)
    assert [each.number for each in found.breakdown.scenes] == list(range(1, len(found.origins) + 1))
    return [each.panel.shot_number for each in found.breakdown.scenes], found.origins


def new(scene: Parts, **panel: Any) -> Parts:
    return {**scene, "number": None, "panel": panel}


def test_panels_keep_their_shot_numbers_wherever_they_are(tmp_path: Path) -> None:
    assert panels(tmp_path, lambda old: old) == (["1", "2", "3"], (1, 2, 3))
    assert panels(tmp_path, lambda old: old[::-1]) == (["3", "2", "1"], (3, 2, 1))
    assert panels(tmp_path, lambda old: [old[0], old[2]]) == (["1", "3"], (1, 3))


def test_inserted_panels_get_letters_and_appended_ones_numbers(tmp_path: Path) -> None:
    def insert(old: list[Parts]) -> list[Parts]:
        return [new(old[0]), old[0], old[1], new(old[0]), new(old[0]), {**old[1]}, old[2], new(old[0]), new(old[0])]

    numbers, origins = panels(tmp_path, insert)
    assert numbers == ["4", "1", "2", "2A", "2B", "2C", "3", "5", "6"]
    assert origins == (None, 1, 2, None, None, None, 3, None, None)
    own = panels(tmp_path, lambda old: [old[0], new(old[0], shot_number="1B"), new(old[0]), old[1]])
    assert own[0] == ["1", "1B", "1C", "2"]


@pytest.mark.parametrize(
    ("shot", "panel", "size"),
    [
        ("far shot", {}, "WS"),
        ("middle shot", {"shot_size": "CU"}, "CU"),
        ("far shot", {"shot_size": "CU"}, "CU"),
        ("a view", {}, "MS"),
    ],
)
def test_of_shot_and_size_the_edited_one_counts(shot: str, panel: Parts, size: str, tmp_path: Path) -> None:
    def edit(parts: Parts) -> None:
        parts["scenes"][1]["shot"] = shot
        parts["scenes"][1]["panel"] |= panel

    found = read_edited(written(tmp_path, edit), BEFORE).breakdown.scenes[1].panel
    assert found == Panel(shot_number="2", shot_size=size)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda p: p["scenes"][1]["panel"].update(shot_size="XCU"),
         "scene 2, panel.shot_size: got 'XCU'; valid values: 'ECU', 'CU', 'MCU', 'MS', 'MLS', 'WS', 'EWS'"),
        (lambda p: p["scenes"][1]["panel"].update(angel="low"),
         "scene 2, panel.angel: unknown field; did you mean angle?"),
        (lambda p: p["scenes"][2].update(mood="x"),
         "scene 3, mood: unknown field; valid names: number, caption, action"),
        (lambda p: p.update(titel="x"), "titel: unknown field; did you mean title?"),
        (lambda p: p["scenes"][2].pop("place"), "scene 3, place: is missing"),
        (lambda p: p["scenes"][0]["panel"].update(seconds=0),
         "scene 1, panel.seconds: Input should be greater than 0, got 0"),
        (lambda p: p["scenes"][0]["panel"].update(dialogue=[{"speaker": "a", "words": "b"}]),
         "scene 1, panel.dialogue.1.text: is missing"),
        (lambda p: p["scenes"][0].update(cast=["the khan"]), "scene 1 names ['the khan'], the cast is []"),
        (lambda p: p["scenes"][0].update(number="1"),
         "scene 1, number: the panel's number on the board, or null"),
        (lambda p: p["scenes"][0].update(panel=None), "scene 1, panel: an object is needed, got None"),
        (lambda p: p["scenes"].insert(0, "x"), "scene 1: an object with its fields is needed, got 'x'"),
        (lambda p: p.update(scenes=[]), "scenes: 1 to 24 scenes are needed, got 0"),
        (lambda p: p.update(scenes=p["scenes"] * 9), "scenes: 1 to 24 scenes are needed, got 27"),
        (lambda p: p.update(scenes=None), "scenes: 1 to 24 scenes are needed, got None"),
        (lambda p: p["scenes"][0]["panel"].update(shot_number=7),
         "scene 1, panel.shot_number: Input should be a valid"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_in_one_line(edit: Callable[[Parts], object], problem: str, tmp_path: Path) -> None:
    file = written(tmp_path, edit)
    with pytest.raises(InputError) as told:
        read_edited(file, BEFORE)
    assert str(told.value).startswith(f"{file}: {problem}")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"scenes": [\n  {"a": 1,}\n]}', ", line 2, column 1"),
        (b"", ", line 1, column 1: not JSON: Expecting value"),
        (b'{"a": "\xff"}', ": byte 7 is not UTF-8; save the file as UTF-8"),
        (b'{"a": 1, "a": 2}', ": 'a' is given twice in one object; keep one"),
        (b"[" * 100_000, ": "),
        (b"[]", ": scenes: 1 to 24 scenes are needed, got None"),
        (b'{"scenes": [{"panel": {"seconds": NaN}}]}', ": "),
    ],
)
def test_what_is_no_breakdown_is_named_in_one_line(data: bytes, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "scene_breakdown.json"
    file.write_bytes(data)
    with pytest.raises(InputError) as told:
        read_edited(file, BEFORE)
    assert str(told.value).startswith(f"{file}{problem}")
    assert "\n" not in str(told.value)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_edited(file, BEFORE).breakdown.title == "t"
