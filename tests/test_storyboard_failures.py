"""What goes wrong is told once, in one line, at the right moment, and nobody's key is in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_loras
import tiny_models
import torch
from flow_runs import STORY, Ran, Stage
from openai_server import Reply, completion, failure, serving
from prefect.settings import PREFECT_SERVER_DATABASE_CONNECTION_URL
from waiting import DEADLINE, until

import flows.storyboard
from flows.commands.storyboard import parse
from models.errors import ChecksFailed, InputError, QuotaExhausted, WriterRefused
from tasks import retries, story

KEY = "sk-the-borrowed-coat-4f9d1c7a"
TESTS = Path(__file__).parent
NO_KEY = "the openai writer needs a key: Set OPENAI_API_KEY in .env, or use --writer offline"


def error_of(ran: Ran) -> BaseException:
    """What the flow raised; the server must know it by the same words."""
    assert ran.state.is_failed()
    error = ran.state.result(raise_on_failure=False)
    assert isinstance(error, BaseException)
    known = ran.flow_run()
    assert known.state is not None
    assert known.state.is_failed()
    assert known.state.message == str(error)
    return error


# --- before any work


def test_a_missing_key_stops_the_run_before_any_work(stage: Stage) -> None:
    ran = stage.run(writer="openai")
    error = error_of(ran)
    assert isinstance(error, ChecksFailed)
    assert error.problems == (NO_KEY,)
    assert set(ran.task_runs("checks")) == {"checks"}
    assert not stage.boards()


def test_all_problems_are_told_at_once(stage: Stage) -> None:
    ran = stage.run(writer="openai", lora_path="/no/such/lora", sketches={2: "/no/such/sketch.png"})
    error = error_of(ran)
    assert isinstance(error, ChecksFailed)
    assert [line.partition(":")[0] for line in error.problems] == [
        "the openai writer needs a key",
        "LoRA",
        "sketch of frame 2, '/no/such/sketch.png'",
    ]
    assert ran.task_runs("checks")["checks"].run_count == 1


def test_the_command_line_ends_with_the_checks_words(stage: Stage, prefect_server: str, tmp_path: Path) -> None:
    models = json.dumps(
        {
            "models": weights_of(stage),
            "story": STORY,
            "options": stage.options(writer="openai").model_dump(exclude_unset=True, mode="json"),
        }
    )
    ended = subprocess.run(
        [sys.executable, str(TESTS / "stopped_flow.py"), models],
        env=os.environ | {"PREFECT_API_URL": prefect_server},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == f"error: {NO_KEY}"
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def weights_of(stage: Stage) -> str:
    return stage.options().get_profile().base.source


def test_an_output_directory_that_cannot_be_written(stage: Stage) -> None:
    stage.output.write_text("a file")
    error = error_of(stage.run())
    assert isinstance(error, ChecksFailed)
    assert str(error).startswith(f"{stage.output}/ directory writable?")


def test_a_corrupt_lora(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "coat.safetensors"
    file.write_bytes(b"\x10\0\0\0\0\0\0\0{not a header")
    error = error_of(stage.run(lora_path=str(file)))
    assert isinstance(error, ChecksFailed)
    assert "coat.safetensors" in str(error)
    assert not stage.boards()


def test_a_lora_of_another_base_is_told_by_its_header_before_the_writer_is_asked(stage: Stage, tmp_path: Path) -> None:
    wide = {"unet": {"conv_in.lora_A.weight": torch.zeros(4, 99), "conv_in.lora_B.weight": torch.zeros(8, 4)}}
    error = error_of(stage.run(lora_path=str(tiny_loras.save_checkpoint(tmp_path / "lora", {**whole(), **wide}))))
    assert isinstance(error, ChecksFailed)
    assert "'conv_in' has down [4, 99] and up [8, 4], this base's weight is [8, 4, 3, 3]" in str(error)
    assert "choose another with --lora-path" in str(error)
    assert "\n" not in str(error)
    assert not stage.boards()


def whole() -> tiny_loras.Tensors:
    """A LoRA of the tiny base."""
    return tiny_loras.lora_by_part(tiny_models.pipeline())


@pytest.mark.parametrize("text", ["", "  \n\t ", "а" * 2001], ids=["empty", "blank", "2001 letters"])
def test_no_story_or_too_long_a_story_is_refused(stage: Stage, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse([text])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: story")
    assert stage.run(text).state.is_failed()
    assert not stage.output.exists()


def test_a_wrong_variable_is_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYBOARD_THRESHOLD", "much")
    error = error_of(stage.run())
    assert isinstance(error, InputError)
    assert "STORYBOARD_THRESHOLD" in str(error)


# --- the language model


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the scenes' task was asked to wait; pauses of all others are left out."""
    seconds: list[float] = []
    monkeypatch.setattr(retries, "sleep", seconds.append)
    monkeypatch.setattr(flows.storyboard, "write_scenes", story.write_scenes.with_options(retry_delay_seconds=0))
    return seconds


def ask(stage: Stage, monkeypatch: pytest.MonkeyPatch, *replies: Reply) -> tuple[Ran, int]:
    """Run with the openai writer; also how many requests its server saw."""
    with serving(*replies) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        ran = stage.run(writer="openai", frames=1)
        assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
        return ran, len(server.requests)


def answer() -> Reply:
    scene = {
        "caption": "Aldar bows.",
        "action": "is walking",
        "cast": [],
        "place": "bazaar",
        "time": "by day",
        "shot": "middle shot",
        "things": [],
    }
    return completion(json.dumps({"title": "The coat", "cast": [], "scenes": [scene]}))


def test_a_language_model_writes_the_scenes_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, requests = ask(stage, monkeypatch, answer())
    assert (ran.report.title, ran.report.writer, requests) == ("The coat", "openai/gpt-5.5", 1)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (failure(401, f"Incorrect API key provided: {KEY}"), WriterRefused),
        (failure(429, "You exceeded your quota", code="insufficient_quota"), QuotaExhausted),
    ],
    ids=["401", "quota"],
)
def test_what_waiting_cannot_mend_is_asked_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, waited: list[float], reply: Reply, expected: type[Exception]
) -> None:
    ran, requests = ask(stage, monkeypatch, reply)
    assert isinstance(error_of(ran), expected)
    assert (requests, waited) == (1, [])
    (board,) = stage.boards()
    assert not (board / "report.json").exists()


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([failure(429, headers={"retry-after": "7"}), failure(429, headers={"retry-after": "900"})], [7.0, 120.0]),
        ([failure(500), failure(503)], []),
    ],
    ids=["429", "5xx"],
)
def test_a_busy_server_is_asked_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, waited: list[float], replies: list[Reply], expected: list[float]
) -> None:
    ran, requests = ask(stage, monkeypatch, *replies, answer())
    assert ran.report.title == "The coat"
    assert (requests, waited) == (3, expected)
    assert ran.task_runs("scenes")["scenes"].run_count == 3


def test_a_server_that_stays_down_ends_the_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    ran, requests = ask(stage, monkeypatch, failure(500))
    assert "HTTP 500" in str(error_of(ran))
    assert requests == 4


def test_the_key_is_nowhere(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, waited: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    refused, _ = ask(stage, monkeypatch, failure(401, f"seen by nobody else: {KEY}"))
    ran, _ = ask(stage, monkeypatch, answer())
    assert ran.state.is_completed()
    assert KEY not in str(error_of(refused))
    assert "seen by nobody else: ***" in caplog.text
    assert KEY not in caplog.text
    # Logs reach the server a moment later; that of the last task comes after all others.
    until(lambda: str(ran.board).encode() in database() and b"seen by nobody else: ***" in database())
    assert KEY.encode() not in database()
    for file in stage.output.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), file


def database() -> bytes:
    """All that the server has written down."""
    file = Path(str(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).partition("///")[2])
    return b"".join(part.read_bytes() for part in sorted(file.parent.glob(f"{file.name}*")))
