"""What a board cannot show or tell is said, and what it can is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from written_boards import write_board

from models.board.finished import read_board
from models.board.pages import report_markdown
from models.board.report import outcome, summary_lines
from models.board.story_warnings import find_warnings
from models.language import offline
from models.records import SceneBreakdown, Story
from models.settings import StoryboardOptions

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
    return offline.write(Story(text=story), StoryboardOptions(profile="sdxl", frames=2))


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


def test_letters_that_the_font_lacks_are_named_with_their_places() -> None:
    (warning,) = find_warnings(captioned("阿尔达尔", "Aldar bows."))
    assert warning == "The contact sheet shows boxes for letters that its font lacks (阿尔达), in caption 1."
    (warning,) = find_warnings(captioned("अलदार कोसे लालची", "व्यापारी", title="चकमा"))
    assert warning.endswith("…), in the title, caption 1 and caption 2.")
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
