"""Runs on the work pool: from `prefect deployment run` to the end, on a real server and worker with a password."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import openai_server
import pytest
import service as services
from openai_server import Script
from service import QUICK, STORY, Service, run_id
from training_runs import draw_pictures
from waiting import until

from models.board.directory import REPORT_FILE
from models.lora.training import checkpoints

RUN, REFUSED = "storyboard/steppe", "the writer refuses"
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "too many frames": (
        {"story": STORY, "options": {"frames": 99}},
        "options.frames.*99 is greater than the maximum of 24",
    ),
    "no such option": ({"story": STORY, "options": {"farmes": 4}}, "'farmes' is not one of"),
    "no such profile": ({"story": STORY, "options": {"profile": "steepe"}}, "'steepe' is not one of"),
    "no story": ({}, "'story' is a required property"),
}
"""Parameters that are refused, and why."""


@dataclass(frozen=True)
class Typed:
    """What commands printed that were typed at the same time, how many runs they made, and which boards."""

    said: Mapping[str, subprocess.CompletedProcess[str]]
    runs: int
    boards: set[Path]


@pytest.fixture(scope="module")
def typed(service: Service, paid_writer: Script) -> Typed:
    """A storyboard and one whose writer is refused, both watched to the end, and all that is wrong."""
    paid_writer.replies[:] = [openai_server.failure(401, f"no such key: {services.OPENAI_KEY}")]
    commands: dict[str, Callable[[], subprocess.CompletedProcess[str]]] = {
        RUN: partial(service.run, RUN, "--watch", story=STORY, options=QUICK),
        REFUSED: partial(service.run, RUN, "--watch", story=STORY, options={**QUICK, "writer": "openai"}),
        **{name: partial(service.run, RUN, **given) for name, (given, _) in WRONG.items()},
    }
    runs, boards = service.count(), finished_boards(service)
    with ThreadPoolExecutor(len(commands)) as people:
        ended = {name: people.submit(command) for name, command in commands.items()}
    said = {name: done.result() for name, done in ended.items()}
    return Typed(said, service.count() - runs, finished_boards(service) - boards)


@pytest.fixture(scope="module")
def finished(typed: Typed) -> subprocess.CompletedProcess[str]:
    """A storyboard that was watched to its end."""
    return typed.said[RUN]


@pytest.fixture(scope="module")
def failed(typed: Typed) -> subprocess.CompletedProcess[str]:
    """A storyboard whose writer was refused."""
    return typed.said[REFUSED]


def finished_boards(service: Service) -> set[Path]:
    return {report.parent for report in (service.folder / "outputs").glob(f"terminal_generation_*/{REPORT_FILE}")}


def logs_of(service: Service, run: str) -> list[str]:
    """What the dashboard shows as the run's logs."""
    found = service.ask("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"})
    return [log["message"] for log in found]


def test_up_says_where_the_dashboard_is(service: Service) -> None:
    assert f"dashboard: http://127.0.0.1:{service.port}\n" in service.said
    assert "prefect deployment run 'storyboard/steppe' --param story=" in service.said
    assert f"export PREFECT_API_URL=http://127.0.0.1:{service.port}/api" in service.said


def test_a_run_goes_from_the_command_to_a_storyboard(
    service: Service, typed: Typed, finished: subprocess.CompletedProcess[str]
) -> None:
    assert finished.returncode == 0, finished.stdout
    assert "finished successfully in 'Completed'" in finished.stdout
    run = service.flow_run(run_id(finished.stdout))
    assert run["name"] == STORY
    assert (run["work_pool_name"], run["work_queue_name"]) == ("gpu", "interactive")
    assert len(typed.boards) == 1


def test_what_the_libraries_log_is_shown_with_the_run(
    service: Service, finished: subprocess.CompletedProcess[str]
) -> None:
    run = run_id(finished.stdout)
    until(lambda: any("painting 1 frame" in message for message in logs_of(service, run)))
    assert any("all checks passed" in message for message in logs_of(service, run))
    assert "all checks passed" in finished.stdout  # --watch shows them too


def test_a_failed_run_exits_with_1_and_the_tasks_own_words(
    failed: subprocess.CompletedProcess[str], paid_writer: Script
) -> None:
    assert failed.returncode == 1
    assert "Flow run finished in state 'Failed'" in failed.stdout
    assert "WriterRefused" in failed.stdout
    assert "OPENAI_API_KEY" in failed.stdout
    assert paid_writer.headers[-1]["authorization"] == f"Bearer {services.OPENAI_KEY}"


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_parameters_are_refused_before_there_is_a_run(typed: Typed, wrong: str) -> None:
    refused, (_, reason) = typed.said[wrong], WRONG[wrong]
    assert refused.returncode == 1
    assert re.search(reason, refused.stdout), refused.stdout
    assert typed.runs == 2  # those that were watched


def test_queued_runs_finish_one_at_a_time_in_order_and_trainings_last(service: Service, tmp_path: Path) -> None:
    """Three short runs in the queue of storyboards and one in that of trainings, for one slot."""
    queues = [service.deployment(f"{kind}/steppe")["work_queue_name"] for kind in ("storyboard", "train-lora")]
    quick, patient = (service.deploy_short(queue) for queue in queues)
    asked = [service.queue(name, place=str(tmp_path / f"{n}")) for n, name in enumerate((quick, patient, quick, quick))]
    runs = [service.until_ended(asked[number]) for number in (0, 2, 3, 1)]
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 4
    for earlier, later in itertools.pairwise(runs):
        assert datetime.fromisoformat(earlier["end_time"]) <= datetime.fromisoformat(later["start_time"])


def training_of(tmp_path: Path) -> dict[str, Any]:
    """Options of a small training."""
    return {
        "profile": "tiny",
        "device": "cpu",
        "rank": 4,
        "alpha": 2,
        "warmup_steps": 2,
        "max_train_steps": 4,
        "checkpointing_steps": 4,
        "train_batch_size": 2,
        "train_data_dir": str(draw_pictures(tmp_path / "pictures", 8)),
        "prior_data_dir": str(draw_pictures(tmp_path / "others", 4, sizes=((72, 72),), trigger="")),
        "validation_prompts": ["aldar_kose_man in a yurt", "aldar_kose_man on a horse"],
        "unrelated_prompts": ["a merchant in a yellow robe", "a camel by the river"],
        "validation_seeds": 1,
        "name": "tiny_hero",
        "publish_anyway": True,
        "output_dir": str(tmp_path / "checkpoints"),
    }


def test_a_training_goes_from_the_command_to_a_published_character(service: Service, tmp_path: Path) -> None:
    trained = service.run("train-lora/steppe", "--watch", options=training_of(tmp_path))
    assert trained.returncode == 0, trained.stdout
    assert (service.folder / "outputs" / "published" / "tiny_hero").is_dir()


def test_a_cancelled_training_keeps_its_last_whole_checkpoint_and_goes_on_from_it(
    service: Service, tmp_path: Path
) -> None:
    options = {**training_of(tmp_path), "max_train_steps": 100, "checkpointing_steps": 20, "checkpoints_total_limit": 2}
    options["name"] = "stopped_hero"
    folder = tmp_path / "checkpoints"
    run = service.queue("train-lora/steppe", options=options)
    until(lambda: checkpoints.list_steps(folder))
    service.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert service.until_ended(run)["state_name"] == "Cancelled"
    until(lambda: not service.engines(run))
    *_, last = checkpoints.list_steps(folder)
    assert 20 <= last < 100
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} == {".latents", ".training.lock"}
    [stopped] = [message for message in logs_of(service, run) if message.startswith("stopped (")]
    assert f"checkpoint-{last}" in stopped
    again = service.queue("train-lora/steppe", options={**options, "resume_from_checkpoint": "latest"})
    ended = service.until_ended(again)
    assert ended["state_name"] == "Completed", ended["state"]["message"]
    until(lambda: any(f"checkpoint-{last}" in message for message in logs_of(service, again)))
    assert checkpoints.list_steps(folder)[-1] == 100


def test_keys_and_password_are_nowhere_but_in_the_environment(
    service: Service, finished: subprocess.CompletedProcess[str], failed: subprocess.CompletedProcess[str]
) -> None:
    """Database, logs, artifacts and results: all are files of the two folders."""
    password = (services.PASSWORD, services.PASSWORD.partition(":")[2])
    secrets = [secret.encode() for secret in (services.OPENAI_KEY, services.AWS_KEY, *password)]
    files = [file for folder in (service.home, service.folder) for file in folder.rglob("*") if file.is_file()]
    held = {file: file.read_bytes() for file in files if file.suffix != ".safetensors"}
    assert any(STORY.encode() in content for file, content in held.items() if file.name.startswith("prefect.db"))
    assert any("worker-1.log" in file.name and content for file, content in held.items())
    assert [file for file, content in held.items() if any(secret in content for secret in secrets)] == []
    assert not any(secret.decode() in said.stdout for secret in secrets for said in (finished, failed))


def test_bootstrapping_puts_right_what_was_changed_and_nothing_else(service: Service) -> None:
    service.ask("work_pools/gpu", {"concurrency_limit": 7, "description": "mine"}, "PATCH")
    queues = {queue["name"]: queue["id"] for queue in service.ask("work_pools/gpu/queues/filter")}
    service.ask("work_pools/gpu/queues/batch", {"priority": 1}, "PATCH")
    assert len(queues) == 3
    put = service.command("deployments.bootstrap", "--slots", "1").stdout.splitlines()
    assert "work pool gpu: changed" in put
    assert "queue batch: changed" in put
    untouched = [line for line in put if not line.startswith(("work pool", "queue"))]
    assert "deployment storyboard/steppe: unchanged" in untouched
    assert [line for line in untouched if not line.endswith(": unchanged")] == []
    pool = service.ask("work_pools/gpu", method="GET")
    assert (pool["concurrency_limit"], pool["type"]) == (1, "process")
    priorities = {queue["name"]: queue["priority"] for queue in service.ask("work_pools/gpu/queues/filter")}
    assert priorities == {"interactive": 1, "batch": 2, "default": 3}
    again = service.command("deployments.bootstrap")
    assert again.returncode == 0, again.stderr
    *lines, last = again.stdout.splitlines()
    assert [line for line in lines if not line.endswith(": unchanged")] == []
    assert "deployment storyboard/steppe: unchanged" in lines
    assert last == "nothing to change"


def test_a_wrong_password_is_told_in_one_line(service: Service) -> None:
    refused = service.command("deployments.bootstrap", PREFECT_API_AUTH_STRING="somebody:else")
    assert refused.returncode == 1
    address = f"http://127.0.0.1:{service.port}/api"
    last = refused.stderr.splitlines()[-1]
    assert last.startswith(f"error: {address}, which PREFECT_API_URL names, requires another password: ")


def test_a_taken_port_is_told_in_one_line(service: Service) -> None:
    again = service.command("deployments.up", "--port", str(service.port))
    assert again.returncode == 2
    expected = f"error: port {service.port} is taken, perhaps by a running service: end it, or choose another"
    assert again.stderr.startswith(expected)
    assert again.stdout == ""
