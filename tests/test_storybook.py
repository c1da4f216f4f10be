"""A book of stories: what fails stops nothing, what is there is not made again, and one index tells of all."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from book_runs import TALES, error_of, last_book, states, tell
from flow_runs import STORY, Ran, Stage
from openai_server import Reply, completion, failure, serving

import flows.storybook
from flows.redo_frame import redo_frame
from flows.storyboard import storyboard
from models.book.index import story_key
from models.settings import StoryboardOptions

# --- what is made


def test_each_story_becomes_a_board_and_the_index_shows_all(stage: Stage) -> None:
    ran = tell(stage, [*TALES, f"  {TALES[0]}\n"])
    assert re.fullmatch(r"storybook_\d{8}_\d{6}", ran.board.name)
    assert len(stage.boards()) == 3
    book = last_book(stage)
    assert (book.folder, states(stage)) == (str(ran.board), ["made"] * 3)
    for chapter, tale in zip(book.chapters, TALES, strict=True):
        assert chapter.story == tale
        assert json.loads((Path(str(chapter.directory)) / "report.json").read_text("utf-8"))["story"] == tale
    page = (ran.board / "index.html").read_text("utf-8")
    assert all(tale in unescape(page) for tale in TALES)
    links = [unquote(link) for link in re.findall(r'(?:href|src)="([^"]+)"', page)]
    assert len(links) == 9
    assert all((ran.board / link).exists() for link in links)
    artifacts = ran.artifacts()
    assert set(artifacts) == {"storybook"}
    assert (artifacts["storybook"].description, ran.state.message) == ("3 of 3 stories done",) * 2
    assert all(str(chapter.directory) in str(artifacts["storybook"].data) for chapter in book.chapters)
    assert ran.flow_run().name == "4 stories"


def test_started_again_it_makes_only_what_is_missing(stage: Stage, tmp_path: Path) -> None:
    tell(stage, TALES[:2])
    file = tmp_path / "tales.txt"
    file.write_text("\n".join(TALES), "utf-8")
    again = tell(stage, file=str(file))
    assert states(stage) == ["found", "found", "made"]
    assert len(stage.boards()) == 3
    assert again.flow_run().name == "stories of tales.txt"
    tell(stage, TALES)
    assert states(stage) == ["found"] * 3
    assert len(stage.boards()) == 3
    tell(stage, TALES[:1], frames=2)
    assert states(stage) == ["made"]


def test_a_storyboard_that_was_made_alone_is_found_and_one_that_was_harmed_is_not(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    (board,) = stage.boards()
    tell(stage, [STORY], frames=6)
    assert states(stage) == ["found"]
    redo_frame(str(board), 4)
    tell(stage, [STORY], frames=6)
    assert states(stage) == ["found"]
    board.rename(board.with_name(f".{board.name}.old"))  # a redo that was killed
    tell(stage, [STORY], frames=6)
    assert states(stage) == ["found"]
    (board / "frame_002.png").write_bytes(b"")
    tell(stage, [STORY], frames=6)
    assert states(stage) == ["made"]
    assert len(stage.boards()) == 2
    tell(stage, [STORY], frames=6, refresh=True)
    assert states(stage) == ["made"]


def test_the_key_is_the_story_and_what_decides_its_pictures() -> None:
    plain = StoryboardOptions()
    changes: list[dict[str, Any]] = [
        {"output_dir": "x"},
        {"device": "cpu"},
        {"batch_size": 2},
        {"low_memory": True},
        {"refresh": True},
    ]
    for same in changes:
        assert story_key(STORY, plain.model_copy(update=same)) == story_key(STORY, plain)
    for other in ({"seed": 1}, {"steps": 3}, {"lora_path": "none"}, {"writer": "offline"}):
        assert story_key(STORY, plain.model_copy(update=other)) != story_key(STORY, plain)
    assert story_key(TALES[0], plain) != story_key(STORY, plain)


# --- what fails


def scenes(title: str, time: str) -> Reply:
    scene = {"caption": "Aldar bows.", "action": "is walking", "place": "bazaar", "time": time}
    scene |= {"shot": "middle shot", "cast": [], "things": []}  # type: ignore[dict-item]
    return completion(json.dumps({"title": title, "cast": [], "scenes": [scene]}))


def ask(stage: Stage, monkeypatch: pytest.MonkeyPatch, *replies: Reply) -> tuple[Ran, int]:
    """Make the three tales with the openai writer; also how many requests its server saw."""
    with serving(*replies) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-the-borrowed-coat")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        ran = tell(stage, TALES, writer="openai")
        return ran, len(server.requests)


def test_one_that_fails_does_not_stop_the_others_and_is_made_the_next_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, requests = ask(
        stage, monkeypatch, scenes("The khan", "by day"), failure(401, "no such key"), scenes("The coat", "at sunset")
    )
    assert requests == 3
    assert error_of(ran).startswith(f"1 of 3 stories failed: “{TALES[1]}”: ")
    book = last_book(stage)
    assert [chapter.state for chapter in book.chapters] == ["made", "failed", "made"]
    assert [chapter.title for chapter in book.chapters] == ["The khan", None, "The coat"]
    assert "no such key" in str(book.chapters[1].error)
    assert "\n" not in str(book.chapters[1].error)
    artifacts = ran.artifacts()
    assert artifacts["storybook"].description == "2 of 3 stories done, 1 failed"
    assert "no such key" in str(artifacts["storybook"].data)
    assert "no such key" in (Path(book.folder) / "index.html").read_text("utf-8")
    pictures = len(stage.entries())
    ran, requests = ask(stage, monkeypatch, scenes("The rider", "at night"))
    assert (ran.state.is_completed(), requests, len(stage.entries())) == (True, 1, pictures + 1)
    assert states(stage) == ["found", "made", "found"]


def test_a_story_that_cannot_be_told_fails_alone(stage: Stage) -> None:
    ran = tell(stage, ["а" * 2001, TALES[0]])
    error = error_of(ran)
    assert error.startswith(f"1 of 2 stories failed: “{'а' * 60}…”: story: String should have at most 2000 characters")
    assert states(stage) == ["failed", "made"]


def test_the_index_tells_how_far_it_came_when_it_is_interrupted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(story: str, *given: Any, **more: Any) -> Any:
        if story == TALES[1]:
            raise KeyboardInterrupt
        return storyboard(story, *given, **more)

    monkeypatch.setattr(flows.storybook, "storyboard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tell(stage, TALES)
    assert states(stage) == ["made", "waiting", "waiting"]
    monkeypatch.setattr(flows.storybook, "storyboard", storyboard)
    tell(stage, TALES)
    assert states(stage) == ["found", "made", "made"]


def test_several_at_once_need_a_deployment(stage: Stage) -> None:
    assert error_of(tell(stage, TALES, at_once=2)).startswith("at_once 2 needs a `deployment`")
    assert error_of(tell(stage, TALES, deployment="storyboard/nowhere")).startswith(
        "deployment 'storyboard/nowhere' is not on the server"
    )
    assert not stage.output.exists()
