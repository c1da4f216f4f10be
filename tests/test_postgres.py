"""A server on a real PostgreSQL, with four workers: every run is done, and done once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import postgres_server
import pytest
import service_parts
import tiny_models
from service import QUICK, STORY
from service_parts import Parts

WORKERS = tuple(f"worker-{number}" for number in (1, 2, 3, 4))
RUNS = 8


@dataclass(frozen=True)
class Queue:
    """A storyboard and many short runs that have ended."""

    service: Parts
    storyboard: dict[str, Any]
    runs: list[dict[str, Any]]
    places: list[Path]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    folder, world = tmp_path_factory.mktemp("service"), tiny_models.made_once(tmp_path_factory)
    outputs = tmp_path_factory.mktemp("outputs")
    with postgres_server.running() as url:
        own = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url, "OMP_NUM_THREADS": "1"}
        with service_parts.in_parts(folder, world, *WORKERS, **own) as service:
            deployment = service.deploy_short("batch")
            places = [outputs / f"{number:02}" for number in range(RUNS)]
            runs = [service.queue(deployment, place=str(place)) for place in places]
            board = service.queue("storyboard/steppe", story=STORY, options={**QUICK, "output_dir": str(outputs)})
            ended = [service.until_ended(run) for run in runs]
            yield Queue(service, service.until_ended(board), ended, places)


def states(service: Parts, run: str) -> list[str]:
    return [state["type"] for state in service.ask(f"flow_run_states/?flow_run_id={run}", method="GET")]


def test_no_run_is_lost_and_none_is_done_twice(done: Queue) -> None:
    assert [run["state_name"] for run in (*done.runs, done.storyboard)] == ["Completed"] * (RUNS + 1)
    assert [place for place in done.places if not place.is_file()] == []
    assert [states(done.service, run["id"]).count("RUNNING") for run in done.runs] == [1] * RUNS


def test_all_workers_work_and_no_more_runs_than_slots_are_at_work(done: Queue) -> None:
    said = {name: done.service.log(name) for name in WORKERS}
    assert [name for name, log in said.items() if "Finished in state Completed()" not in log] == []
    all_runs = [*done.runs, done.storyboard]
    for moment in [run["start_time"] for run in all_runs]:
        at_work = [run for run in all_runs if run["start_time"] <= moment < run["end_time"]]
        assert len(at_work) <= len(WORKERS)


def test_the_database_is_postgresql_and_its_password_stays_there(done: Queue) -> None:
    service = done.service
    assert list(service.home.rglob("*.db")) == []
    files = [file for folder in (service.home, service.folder) for file in folder.rglob("*") if file.is_file()]
    assert [file for file in files if postgres_server.PASSWORD.encode() in file.read_bytes()] == []
