"""What a board cannot show or tell is said, and what it can is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from written_boards import write_board

from models.board.finished import read_board
from models.board.pages import report_markdown
from models.board.report import outcome
from models.board.story_warnings import find_warnings
from models.board.summary import summary_lines
from models.language import offline
from models.profiles import SDXL
from models.records import SceneBreakdown, Story

READ = ["Aldar Köse outwits the khan", "Алдар-Косе украл у бая верблюда", "Алдар Көсе базарда ханға есек сатты"]
UNREAD = {
    "阿尔达尔在集市上骗了贪心的商人": "it is in Chinese letters",
    "अलदार कोसे ने लालची व्यापारी को चकमा दिया": "it is in Devanagari letters",
    "الدار كوسه يخدع التاجر الجشع": "it is in Arabic letters",
    "알다르 코세가 상인을 속이다": "it is in Hangul letters",
    "アルダル・コセと": "it is in Katakana letters",
    "Aldar Köse 骗了商人": "it is in Chinese letters",
    "Aldar Köse trompe un marchand avide": "it names nothing that the offline writer knows",
    "Алдар Көсе": "it names nothing that the offline writer knows",
}


def told(story: str) -> SceneBreakdown:
    """The offline writer's tale."""
    return offline.write(Story(text=story), 2, SDXL)


def captioned(*captions: str, title: str = "The khan", writer: str = "openai/gpt") -> SceneBreakdown:
    """A language model's tale with these captions."""
    plain = told(READ[0])
    scenes = [
        scene.model_copy(update={"caption": caption}) for scene, caption in zip(plain.scenes, captions, strict=True)
    ]
    return plain.model_copy(update={"scenes": tuple(scenes), "title": title, "writer": writer})


@pytest.mark.parametrize("story", READ)
def test_a_story_that_is_read_warns_of_nothing(story: str) -> None:
    assert find_warnings(told(story)) == ()


@pytest.mark.parametrize("story", UNREAD)
def test_a_story_that_the_offline_writer_cannot_read_is_told_as_such(story: str) -> None:
    warning = find_warnings(told(story))[0]
    assert warning.startswith(f"The scenes do not follow the story: {UNREAD[story]}, and the offline writer reads ")
    assert find_warnings(told(story).model_copy(update={"writer": "openai/gpt"}))[:1] != (warning,)


def test_a_story_without_a_known_word_is_told_with_what_the_tale_is_about() -> None:
    breakdown = told("A wolf dances in the rain")
    assert breakdown.left_out == ("wolf", "dances", "rain")
    (warning,) = find_warnings(breakdown)
    people = breakdown.cast[0].name
    assert "it names nothing that the offline writer knows, and the offline writer reads English" in warning
    assert f"; it tells a tale of {people}" in warning


def test_words_that_no_scene_shows_are_told(tmp_path: Path) -> None:
    story = "Aldar Köse and a wolf steal the khan's horse in the rain"
    warning = (
        "The scenes leave out words of the story: wolf, rain. The offline writer does not know them, or no scene has "
        "room for them; the openai writer reads the whole story."
    )
    assert find_warnings(told(story)) == (warning,)
    many = told(story).model_copy(update={"left_out": tuple("abcdefghij")})
    assert "words of the story: a, b, c, d, e, f, g, h and 2 more. " in find_warnings(many)[0]
    board = write_board(tmp_path, story=story, width=256, height=256, left_out=("wolf", "rain"))
    report = read_board(board).report
    assert report.warnings == (warning,)
    assert f"- **Warning:** {warning}" in report_markdown(report, board)


def test_letters_that_the_font_lacks_are_named_with_their_places() -> None:
    (warning,) = find_warnings(captioned("阿尔达尔", "Aldar bows."))
    assert warning == (
        "The contact sheet shows boxes for letters that no font here has (阿尔达), in caption 1. "
        "Install one with them, such as fonts-noto-cjk for Chinese, and make it again."
    )
    (warning,) = find_warnings(captioned("अलदार कोसे लालची", "व्यापारी", title="चकमा"))
    assert "…), in the title, caption 1 and caption 2. " in warning
    assert find_warnings(captioned("Алдар Көсе 🐫", "Αλντάρ — № 5")) == ()


def test_the_report_its_page_and_the_last_lines_warn(tmp_path: Path) -> None:
    board = write_board(tmp_path, story="阿尔达尔骗了商人", width=256, height=256)
    report = read_board(board).report
    assert len(report.warnings) == 2
    assert outcome(report) == "3 frames, all accepted; 2 warnings: see the report"
    assert "- **Warning:** The scenes do not follow the story" in report_markdown(report, board)
    assert [line for line in summary_lines(report) if line.startswith("warning: ")] == [
        f"warning: {warning}" for warning in report.warnings
    ]
