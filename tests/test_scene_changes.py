"""Changes to the scenes as people write them, and the page that names what can be changed."""

from __future__ import annotations

import pytest
from test_board import breakdown

from models.errors import InputError
from models.review.scene_changes import FIELDS, PANEL, edit_scenes, scenes_markdown

SHOWN = edit_scenes(breakdown(3), "cast the khan: a khan in a white robe\n2 cast: the khan\n2 things: a camel, a well")


@pytest.mark.parametrize("text", ["", " \n ", "accept", "Accept\n"])
def test_nothing_and_accept_leave_all_as_it_is(text: str) -> None:
    assert edit_scenes(SHOWN, text) == SHOWN


def test_a_change_a_line() -> None:
    text = "2 caption: He sleeps: soundly.\n\n scene 3 Place : a cave\n3 cast: the khan\n2 things:\ntitle: A nap"
    after = edit_scenes(SHOWN, text)
    assert after.title == "A nap"
    second, third = after.scenes[1:]
    assert (second.caption, second.things, second.cast) == ("He sleeps: soundly.", (), ("the khan",))
    assert (third.place, third.cast) == ("a cave", ("the khan",))
    assert after.scenes[0] == SHOWN.scenes[0]


def test_the_cast_can_be_described_anew_joined_and_left() -> None:
    after = edit_scenes(SHOWN, "cast the khan: an old khan\ncast the dog: a grey dog")
    assert {member.name: member.description for member in after.cast} == {
        "the khan": "an old khan",
        "the dog": "a grey dog",
    }
    assert edit_scenes(SHOWN, "cast the khan:\n2 cast:").cast == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("make it darker", "'make it darker' is no change: write a scene's number, one of caption, action"),
        ("2 captoin: x", "'2 captoin: x' is no change"),
        ("4 caption: x", "scene 4: the storyboard has scenes 1 to 3"),
        ("0 caption: x", "scene 0: the storyboard has scenes 1 to 3"),
        ("2 caption:", "scenes.1.caption: String should have at least 1 character, got ''"),
        ("1 cast: the dragon", "scene 1 names ['the dragon'], the cast is ['the khan']"),
        ("cast the khan:", "scene 2 names ['the khan'], the cast is []"),
        ("2 angle: dutch", "scenes.1.panel.angle: Input should be 'eye level', 'low', 'high'"),
        ("2 shot size: XCU", "scenes.1.panel.shot_size: Input should be 'ECU', 'CU'"),
        ("2 seconds: long", "scenes.1.panel.seconds: Input should be a valid number"),
        ("2 shot number: A2", "scenes.1.panel.shot_number: String should match pattern"),
        ("2 dialogue: No!", "dialogue 'No!' has no speaker: write SPEAKER: WORDS"),
        ("title:", "title: String should have at least 1 character, got ''"),
    ],
)
def test_what_is_no_change_is_said(text: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        edit_scenes(SHOWN, text)
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def test_panels_are_changed_by_the_same_lines() -> None:
    text = (
        "2 shot size: CU\n2 Angle: bird's eye\n2 movement: pan\n2 seconds: 4.5\n2 shot number: 2A\n2 sound: wind\n"
        "2 notes: slow: very\n2 dialogue: Aldar: No: never. | the khan: Ten horses!"
    )
    panel = edit_scenes(SHOWN, text).scenes[1].panel
    assert (panel.shot_size, panel.angle, panel.movement, panel.seconds) == ("CU", "bird's eye", "pan", 4.5)
    assert (panel.shot_number, panel.sound, panel.notes) == ("2A", "wind", "slow: very")
    assert [(said.speaker, said.text) for said in panel.dialogue] == [
        ("Aldar", "No: never."),
        ("the khan", "Ten horses!"),
    ]
    again = edit_scenes(SHOWN, text)
    shown = scenes_markdown(again).split("### 2")[1].split("### 3")[0].replace("\\", "")
    lines = [line.removeprefix("- **").replace(":**", ":") for line in shown.splitlines() if line.startswith("- **")]
    assert len(lines) == 6 + len(PANEL)
    assert edit_scenes(again, "\n".join(f"2 {line}" for line in lines)) == again
    assert edit_scenes(again, "2 dialogue:\n2 sound:\n2 shot number:").scenes[1].panel.dialogue == ()


def test_other_words_for_a_shot_change_its_size() -> None:
    assert edit_scenes(SHOWN, "2 shot: a low angle close-up").scenes[1].panel.shot_size == "CU"
    assert edit_scenes(SHOWN, "2 shot: far shot\n2 shot size: MS").scenes[1].panel.shot_size == "MS"


def test_the_page_shows_everything_by_the_name_that_changes_have_for_it() -> None:
    page = scenes_markdown(SHOWN)
    assert "**cast the khan:** a khan in a white robe" in page
    assert "**things:** a camel, a well" in page
    for scene in SHOWN.scenes:
        assert f"### {scene.number}. {scene.caption}" in page
        for name in FIELDS[1:5]:
            assert f"**{name}:** {getattr(scene, name)}" in page
