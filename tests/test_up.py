"""However the service ends, nothing of it is left, and the server knows how the run ended if it could still hear it."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import service as services
import tiny_models
from service import LONG, STORY, Service, until


@pytest.fixture
def service(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that the test itself ends."""
    with services.started(tmp_path, tiny_models.made_once(tmp_path_factory)) as service:
        yield service


def begin_to_paint(service: Service) -> str:
    """A run that paints its first frame for a long time."""
    run = service.queue("storyboard/steppe", story=STORY, options=LONG)
    until(lambda: "painting 1 frame" in service.log("worker-1"))
    return run


def state_on_disk(service: Service, run: str) -> str:
    """How the run ended, read from the database of a server that has gone."""
    with closing(sqlite3.connect(service.home / "prefect.db")) as database:
        [(state,)] = database.execute("SELECT state_type FROM flow_run WHERE id = ?", (run,))
    return str(state)


def nothing_is_left(service: Service) -> bool:
    return not service.processes()


def test_ctrl_c_ends_all_of_it(service: Service) -> None:
    run, waiting = begin_to_paint(service), service.queue("storyboard/steppe", story="waits", options=LONG)
    assert len(service.processes()) >= 5  # up, its guard, server, worker, run
    assert service.end(signal.SIGINT) == 0
    assert service.processes() == []
    assert service.said.endswith("ended\n")
    assert state_on_disk(service, run) == "CRASHED"
    assert state_on_disk(service, waiting) == "SCHEDULED"


def test_when_it_is_killed_nothing_is_left_either(service: Service) -> None:
    begin_to_paint(service)
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: nothing_is_left(service))


def test_when_the_worker_is_killed_it_says_so_and_ends_its_run_too(service: Service) -> None:
    run = begin_to_paint(service)
    [worker] = [line for line in service.processes() if "worker start" in line]
    os.kill(int(worker.partition(" ")[0]), signal.SIGKILL)
    assert service.process.wait(services.DEADLINE) == 1
    assert service.processes() == []
    assert "error: the worker-1 ended: " in service.said
    assert "(see outputs/service/worker-1.log)" in service.said
    assert state_on_disk(service, run) == "CRASHED"
