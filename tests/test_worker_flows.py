"""The other deployments from the command to the end: a book, a frame redone, a run that people review."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import openai_server
import pytest
import test_openai_writer
from book_runs import TALES
from openai_server import Script
from service import QUICK, STORY, Service, run_id
from waiting import until

from models.board.directory import REPORT_FILE

FRAMES = {**QUICK, "frames": 2}


@pytest.fixture
def writer(paid_writer: Script) -> Script:
    """A language model's server, which counts what is paid for."""
    paid_writer.replies[:] = [openai_server.completion(test_openai_writer.board())]
    return paid_writer


@pytest.fixture(scope="module")
def book(service: Service) -> subprocess.CompletedProcess[str]:
    """A book of two stories that was watched to its end."""
    return service.run("storybook/steppe", "--watch", stories=TALES[:2], options=FRAMES)


@pytest.fixture
def boards(service: Service, book: subprocess.CompletedProcess[str]) -> list[Path]:
    """The boards of the book's stories."""
    [index] = (service.folder / "outputs").glob("storybook_*/index.json")
    return [Path(chapter["directory"]) for chapter in json.loads(index.read_bytes())["chapters"]]


def seeds(board: Path) -> list[int]:
    return [frame["seed"] for frame in json.loads((board / REPORT_FILE).read_bytes())["frames"]]


def test_a_book_goes_from_the_command_to_its_index(
    service: Service, book: subprocess.CompletedProcess[str], boards: list[Path]
) -> None:
    assert book.returncode == 0, book.stdout
    assert service.flow_run(run_id(book.stdout))["work_queue_name"] == "batch"
    assert len(boards) == 2
    assert [seeds(board) for board in boards] == [[42, 2042]] * 2


def test_a_frame_is_redone_from_the_command_to_the_board(service: Service, boards: list[Path]) -> None:
    board, other = boards
    before = [(board / f"frame_00{number}.png").read_bytes() for number in (1, 2)]
    redone = service.run("redo-frame/steppe", "--watch", board=str(board), frame=2, options={"seed": 777})
    assert redone.returncode == 0, redone.stdout
    after = [(board / f"frame_00{number}.png").read_bytes() for number in (1, 2)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]
    assert (seeds(board), seeds(other)) == ([42, 777], [42, 2042])
    assert service.flow_run(run_id(redone.stdout))["work_queue_name"] == "interactive"


def test_a_board_is_exported_from_the_command_to_its_files(service: Service, boards: list[Path]) -> None:
    options = {"forms": ["pdf", "srt"], "pages": {"paper": "Letter"}}
    exported = service.run("export-board/files", "--watch", board=str(boards[0]), options=options)
    assert exported.returncode == 0, exported.stdout
    assert sorted(path.name for path in (boards[0] / "exports").iterdir()) == ["storyboard.pdf", "storyboard.srt"]
    assert service.flow_run(run_id(exported.stdout))["work_queue_name"] == "interactive"


def test_a_frame_that_is_not_there_exits_with_1_and_the_flows_own_words(service: Service, boards: list[Path]) -> None:
    refused = service.run("redo-frame/steppe", "--watch", board=str(boards[0]), frame=9)
    assert refused.returncode == 1
    assert "Flow run finished in state 'Failed'" in refused.stdout
    assert "frame 9" in refused.stdout


# --- people in the loop


def suspended(service: Service, run: str) -> dict[str, Any]:
    """The form that a run shows which was suspended and whose process has ended."""
    state = until(lambda: found if (found := service.flow_run(run)["state"])["name"] == "Suspended" else None)
    until(lambda: not service.engines(run))
    schema = state["state_details"]["run_input_keyset"]["schema"]
    return dict(until(lambda: service.ask(f"flow_runs/{run}/input/{schema}", method="GET")))


def answer(service: Service, run: str, **values: Any) -> None:
    assert service.ask(f"flow_runs/{run}/resume", {"run_input": values})["status"] == "ACCEPT"


def test_a_reviewed_run_ends_its_process_at_each_question_and_pays_the_writer_once(
    service: Service, writer: Script
) -> None:
    paid, folder = len(writer.requests), service.folder / "outputs" / "reviewed"
    options = {**FRAMES, "writer": "openai", "review": "all", "refresh": True, "output_dir": str(folder)}
    run = service.queue("storyboard/steppe", story=STORY, options=options)
    assert "changes" in suspended(service, run)["properties"]
    other = service.queue("redo-frame/steppe", board="no such board", frame=1)
    assert service.until_ended(other)["state_type"] == "FAILED"  # the slot is free while a person thinks
    answer(service, run, changes="2 caption: He sleeps.")
    assert "redo" in suspended(service, run)["properties"]
    answer(service, run, redo=[{"frame": 2, "seed": 888}])
    suspended(service, run)
    answer(service, run)
    ended = service.until_ended(run)
    assert ended["state_name"] == "Completed", ended["state"]["message"]
    assert len(writer.requests) == paid + 1
    [report_file] = folder.glob(f"terminal_*/{REPORT_FILE}")
    report = json.loads(report_file.read_bytes())
    assert [frame["scene"]["caption"] for frame in report["frames"]] == ["Moment 1.", "He sleeps."]
    assert [frame["seed"] for frame in report["frames"]] == [42, 888]


# --- what is paid for


def test_the_writer_is_paid_once_though_its_run_is_killed_and_the_story_told_again(
    service: Service, writer: Script
) -> None:
    paid, folder = len(writer.requests), service.folder / "outputs" / "killed"
    options = {**FRAMES, "writer": "openai", "steps": 150, "output_dir": str(folder)}
    run = service.queue("storyboard/steppe", story=STORY, options=options)
    until(lambda: list(folder.glob("terminal_*/frame_*.png")))
    heard = service.reported("worker-1")
    service.kill_engine(run)
    until(lambda: service.reported("worker-1") == heard + 2)
    service.retry(run)
    for told in (run, service.queue("storyboard/steppe", story=STORY, options=options)):
        ended = service.until_ended(told)
        assert ended["state_name"] == "Completed", ended["state"]["message"]
    assert len(writer.requests) == paid + 1
