"""Changes to the scenes as people write them, and the page that names what can be changed."""

from __future__ import annotations

import pytest
from test_board import breakdown

from models.errors import InputError
from models.review.scene_changes import FIELDS, edit_scenes, scenes_markdown

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
        ("title:", "title: String should have at least 1 character, got ''"),
    ],
)
def test_what_is_no_change_is_said(text: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        edit_scenes(SHOWN, text)
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def test_the_page_shows_everything_by_the_name_that_changes_have_for_it() -> None:
    page = scenes_markdown(SHOWN)
    assert "**cast the khan:** a khan in a white robe" in page
    assert "**things:** a camel, a well" in page
    for scene in SHOWN.scenes:
        assert f"### {scene.number}. {scene.caption}" in page
        for name in FIELDS[1:5]:
            assert f"**{name}:** {getattr(scene, name)}" in page
