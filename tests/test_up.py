"""However the service ends, nothing of it is left, and the server knows how the run ended if it could still hear it."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pytest
import service as services
import tiny_models
from service import LONG, STORY, Service
from waiting import DEADLINE, until


@dataclass(frozen=True)
class AtWork:
    """A service whose worker paints the first frame of a long run, while another run waits."""

    service: Service
    run: str
    waiting: str


@pytest.fixture(scope="module")
def all_at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[AtWork]]:
    """One for each test, which ends it: they are started at the same time, since most of a start is imports."""
    world = tiny_models.made_once(tmp_path_factory)
    ways = [services.started(tmp_path_factory.mktemp("service"), world) for _ in range(2)]
    with ExitStack() as ends:
        with ThreadPoolExecutor(len(ways)) as people:
            begun = list(people.map(lambda way: begin_to_paint(ends.enter_context(way)), ways))
        yield begun


@pytest.fixture
def at_work(all_at_work: list[AtWork]) -> AtWork:
    """A service that the test itself ends."""
    return all_at_work.pop()


def begin_to_paint(service: Service) -> AtWork:
    run = service.queue("storyboard/steppe", story=STORY, options=LONG)
    until(lambda: "painting 1 frame" in service.log("worker-1"))
    return AtWork(service, run, service.queue("storyboard/steppe", story="waits", options=LONG))


def state_on_disk(service: Service, run: str) -> str:
    """How the run ended, read from the database of a server that has gone."""
    with closing(sqlite3.connect(service.home / "prefect.db")) as database:
        [(state,)] = database.execute("SELECT state_type FROM flow_run WHERE id = ?", (run,))
    return str(state)


def test_ctrl_c_ends_all_of_it(at_work: AtWork) -> None:
    service = at_work.service
    assert len(service.processes()) >= 5  # up, its guard, server, worker, run
    assert service.end(signal.SIGINT) == 0
    assert service.processes() == []
    assert service.said.endswith("ended\n")
    assert state_on_disk(service, at_work.run) == "CRASHED"
    assert state_on_disk(service, at_work.waiting) == "SCHEDULED"


def test_when_the_worker_is_killed_it_says_so_and_ends_its_run_too(at_work: AtWork) -> None:
    service = at_work.service
    [worker] = [line for line in service.processes() if "worker start" in line]
    os.kill(int(worker.partition(" ")[0]), signal.SIGKILL)
    assert service.process.wait(DEADLINE) == 1
    assert service.processes() == []
    assert "error: the worker-1 ended: " in service.said
    assert "(see outputs/service/worker-1.log)" in service.said
    assert state_on_disk(service, at_work.run) == "CRASHED"
