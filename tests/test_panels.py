"""What a panel says: read from a shot's words, written by both writers, and which of it a prompt says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai_server import Reply, completion, serving
from test_openai_writer import KEY, board, options, scene, write

from models.board.panel_words import panel_dialogue, panel_facts
from models.language import chat, offline
from models.language.lexicon import read
from models.language.prompts import refine
from models.language.speech import find_quotes
from models.language.writer import SCENES, find_or_write_scenes, scenes_key
from models.profiles import SDXL, get_profile
from models.records import Panel, Scene, SceneBreakdown, Speech, Story
from models.secrets.keys import Keys
from models.shots import DISTANCES, SIZE_WORDS, read_framing
from models.storage.content_store import Store

STEPPE = get_profile("steppe")
PANEL: dict[str, Any] = {
    "shot_size": "CU",
    "angle": "low",
    "movement": "dolly",
    "dialogue": [{"speaker": "the merchant", "text": "Сколько?"}],
    "sound": "wind",
    "notes": "He squints.",
    "seconds": 4.5,
}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def drawn(shot: str = "middle shot", **panel: Any) -> Scene:
    parts = {"number": 1, "caption": "c", "action": "is standing", "place": "bazaar", "time": "by day", "shot": shot}
    return Scene.model_validate(parts | ({"panel": panel} if panel else {}))


def prompt(scene: Scene, profile: Any = SDXL) -> str:
    return refine(scene, (), profile, lambda text: len(text.split())).prompt


@pytest.mark.parametrize(
    ("words", "size", "angle"),
    [
        ("near shot", "CU", "eye level"),
        ("middle shot", "MS", "eye level"),
        ("far shot", "WS", "eye level"),
        ("extreme close-up", "ECU", "eye level"),
        ("low angle medium close-up", "MCU", "low"),
        ("bird's-eye view, extreme wide shot", "EWS", "bird's eye"),
        ("medium long shot from above", "MLS", "high"),
        ("z", "MS", "eye level"),
    ],
)
def test_a_scene_of_an_earlier_version_has_the_panel_that_its_shot_says(words: str, size: str, angle: str) -> None:
    found = drawn(words)
    assert (found.panel.shot_size, found.panel.angle, found.panel.dialogue) == (size, angle, ())
    assert words in prompt(found)
    assert words in prompt(found, STEPPE)


def test_every_size_is_read_back_from_its_own_words() -> None:
    assert [read_framing(words).size for words in SIZE_WORDS.values()] == list(SIZE_WORDS)
    assert set(DISTANCES) == set(SIZE_WORDS)


def test_what_is_not_seen_is_not_painted() -> None:
    spoken = drawn(shot_number="2A", sound="wind", notes="slow", seconds=9, movement="zoom", dialogue=PANEL["dialogue"])
    assert prompt(spoken) == prompt(drawn())
    assert prompt(spoken, STEPPE) == prompt(drawn(), STEPPE)


def test_another_size_or_angle_is_painted_where_the_base_knows_it() -> None:
    assert ", close-up, low angle, " in prompt(drawn(shot_size="CU", angle="low"))
    assert ", medium shot, low angle, from behind, " in prompt(drawn("from behind", angle="low"))
    assert ", near shot, " in prompt(drawn(shot_size="CU", angle="low"), STEPPE)
    assert prompt(drawn(shot_size="MLS", angle="low"), STEPPE) == prompt(drawn(), STEPPE)


def test_the_openai_writer_asks_for_panels_and_reads_them() -> None:
    with serving(completion(with_panels(PANEL, PANEL))) as server:
        written = write(server)
    panel = written.scenes[1].panel
    assert (panel.shot_number, panel.shot_size, panel.angle, panel.movement) == ("2", "CU", "low", "dolly")
    assert (panel.dialogue, panel.seconds) == ((Speech(speaker="the merchant", text="Сколько?"),), 4.5)
    parts = server.requests[0]["response_format"]["json_schema"]["schema"]["$defs"]
    assert parts["AnsweredPanel"]["properties"]["shot_size"]["enum"] == list(SIZE_WORDS)
    for part in parts.values():
        assert set(part["required"]) == set(part["properties"])
        assert part["additionalProperties"] is False
    assert '"default"' not in json.dumps(parts)


def with_panels(*panels: dict[str, Any]) -> str:
    scenes = [scene(n, panel=panel) for n, panel in enumerate(panels, start=1)]
    return json.dumps({**json.loads(board()), "scenes": scenes})


def test_a_wrong_word_in_a_panel_is_asked_for_again_and_unknown_keys_are_ignored() -> None:
    wrong, more = {**PANEL, "angle": "dutch"}, {**PANEL, "lens": "35 mm"}
    replies: list[Reply] = [completion(with_panels(PANEL, wrong)), completion(with_panels(PANEL, more))]
    with serving(*replies) as server:
        assert write(server).scenes[1].panel.angle == "low"
    assert "scenes.1.panel.angle" in server.requests[1]["messages"][-1]["content"]


def test_an_answer_without_panels_is_taken() -> None:
    with serving(completion(board())) as server:
        assert write(server).scenes[0].panel == Panel(shot_number="1")
    assert len(server.requests) == 1


def test_scenes_that_an_earlier_version_stored_are_not_paid_for_again(tmp_path: Any) -> None:
    store, story = Store(tmp_path), Story(text="Aldar sells a shadow.")
    with serving(completion(board())) as server:
        keys, asked = Keys(openai_api_key=KEY, openai_base_url=server.base_url), options(writer="openai")
        old = chat.write(story, asked, SDXL, keys).model_dump(mode="json")
        for part in old["scenes"]:
            del part["panel"]
        key = scenes_key(story, asked, SDXL, keys, "openai/2")
        store.put(SCENES, key, SceneBreakdown.model_validate(old))
        assert len(find_or_write_scenes(story, asked, SDXL, keys, store).scenes) == 2
        assert len(server.requests) == 1
        find_or_write_scenes(Story(text="Another."), asked, SDXL, keys, store)
        assert len(server.requests) == 2


def test_the_offline_writer_fills_panels_by_rule() -> None:
    tale = offline.write(Story(text="Aldar Köse tricks a greedy merchant in the bazaar"), 24, STEPPE)
    for each in tale.scenes:
        distance = {"near shot": "near", "middle shot": "middle", "far shot": "far"}[each.shot]
        assert DISTANCES[each.panel.shot_size] == distance
        assert (each.panel.angle, each.panel.dialogue) == ("eye level", ())
        assert each.panel.shot_number == str(each.number)
        moves = each.action.split()[1] in ("walking", "running", "riding")
        assert each.panel.movement == ("pan" if moves else "static")
        assert each.shot in refine(each, tale.cast, STEPPE, lambda text: len(text.split())).prompt
    assert {each.panel.shot_size for each in tale.scenes} == {"CU", "MCU", "MS", "WS"}


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ('Aldar meets the khan. "Sell me your coat!" says the khan.', [("khan", "Sell me your coat!")]),
        ('"It is warm," Aldar answers the khan.', [("", "It is warm")]),
        ('Aldar tells the merchant: "Ten horses for it"', [("", "Ten horses for it")]),
        ("Алдар Косе сказал баю: «Твоя лошадь хромает». «Неправда!» — крикнул хан.",
         [("", "Твоя лошадь хромает"), ("khan", "Неправда!")]),
        ("“Who is there?” The wind blows.", [("", "Who is there?")]),
        ('Aldar sells a coat called "Wind" to a merchant', []),
        ("Aldar's coat is the khan's now", []),
    ],
)  # fmt: skip
def test_quoted_speech_has_a_speaker(story: str, said: list[tuple[str, str]]) -> None:
    assert [tuple(quote) for quote in find_quotes(story, read(story))] == said


def test_speech_is_said_where_its_speaker_is_seen_and_takes_its_time() -> None:
    words = "Sell me this coat, for I have never seen one with so many fine holes in it"
    tale = offline.write(Story(text=f'Aldar meets the khan in the steppe. "{words}!" says the khan.'), 6, STEPPE)
    [spoken] = [each for each in tale.scenes if each.panel.dialogue]
    assert spoken.panel.dialogue == (Speech(speaker="the khan", text=f"{words}!"),)
    assert "the khan" in spoken.cast
    assert spoken.panel.seconds == round(2 * (17 / 2.5 + 1)) / 2


def test_a_panel_in_a_few_words() -> None:
    assert panel_facts(drawn()) == panel_facts(drawn(shot_number="1")) == "MS · 3 s"
    assert panel_facts(drawn(shot_number="2A", **PANEL)) == "2A · CU · low · dolly · 4.5 s"
    assert panel_dialogue(drawn(**PANEL)) == "the merchant: “Сколько?”"
