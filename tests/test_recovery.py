"""What is killed or cancelled in the middle of a run, and how it goes on: real server, workers and runs.

python -m pytest -rP tests/test_recovery.py   prints how long each took beside the others
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import service_parts
import tiny_models
from service import QUICK, STORY
from service_parts import Parts
from waiting import until

from models.board.directory import REPORT_FILE, STOPPED_FILE

WORKERS = ("worker-1", "worker-2", "worker-3")
FRAMES = 3
MINUTE = 60
"""Seconds, for which the server is gone."""


@dataclass(frozen=True)
class Work:
    """A storyboard of three frames that a worker has begun, in an output directory of its own."""

    service: Parts
    folder: Path
    run: str
    worker: str

    @property
    def frames(self) -> list[str]:
        """Names of the frames that are on a board."""
        return sorted({path.name for path in self.folder.glob("terminal_*/frame_*.png")})

    @property
    def finished(self) -> list[Path]:
        """Boards that are finished."""
        return [report.parent for report in self.folder.glob(f"terminal_*/{REPORT_FILE}")]

    def painted(self) -> dict[str, int]:
        """Every picture in the store, and when it was written."""
        return {path.name: path.stat().st_mtime_ns for path in (self.folder / ".store" / "png").rglob("*.png")}

    def again(self) -> str:
        """A new run of the same."""
        return self.service.queue("storyboard/steppe", **parameters(self.folder))


def parameters(folder: Path) -> dict[str, Any]:
    return {"story": STORY, "options": {**QUICK, "frames": FRAMES, "steps": 200, "output_dir": str(folder)}}


def begin(service: Parts, name: str) -> Work:
    """A run whose first frame is finished and whose others are not."""
    folder = service.folder / "outputs" / name
    run = service.queue("storyboard/steppe", **parameters(folder))
    worker = service.worker_of(run)
    work = Work(service, folder, run, worker)
    until(lambda: work.frames)
    return work


def require_the_rest_alone(work: Work, before: dict[str, int], run: str) -> None:
    """This run ends well, all frames are there, and those that had been painted before were not painted again."""
    ended = work.service.until_ended(run)
    assert ended["state_name"] == "Completed", ended["state"]["message"]
    after = work.painted()
    assert 1 <= len(before) < FRAMES == len(after)
    assert before.items() <= after.items()
    [board] = work.finished
    assert len(json.loads((board / REPORT_FILE).read_bytes())["frames"]) == FRAMES


def tell(what: str, began: float, until_when: Callable[[], Any]) -> Any:
    """Print how long it took until this was true; returns it."""
    value = until(until_when)
    print(f"{what}: {time.time() - began:.1f} s")
    return value


def kill_run_and_worker(service: Parts) -> Abandoned:
    """A run whose process is killed, and its worker with it, which is there again at once."""
    work = begin(service, "abandoned")
    service.kill(work.worker)
    service.kill_engine(work.run)
    killed, before = time.time(), work.painted()
    service.start_workers(work.worker)
    return Abandoned(work, before, killed)


def cancel(service: Parts) -> None:
    work, began = begin(service, "cancelled"), time.time()
    service.ask(f"flow_runs/{work.run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    tell("cancelled: its process is gone after", began, lambda: not service.engines(work.run))
    ended = tell("cancelled: Cancelled after", began, lambda: service.until_ended(work.run))
    assert ended["state_name"] == "Cancelled"
    [stopped] = work.folder.glob(f"terminal_*/{STOPPED_FILE}")
    assert stopped.read_text("utf-8").startswith("cancelled at ")
    assert work.finished == []
    assert list(work.folder.rglob(".*.tmp")) == []
    require_the_rest_alone(work, work.painted(), work.again())


def kill_run(service: Parts) -> None:
    work, began = begin(service, "engine"), time.time()
    heard = service.reported(work.worker)
    service.kill_engine(work.run)
    before = work.painted()
    assert tell("run killed: Crashed after", began, lambda: service.until_ended(work.run))["state_name"] == "Crashed"
    until(lambda: service.reported(work.worker) == heard + 2)
    service.retry(work.run)
    require_the_rest_alone(work, before, work.run)


def kill_worker(service: Parts) -> None:
    work = begin(service, "worker")
    service.kill(work.worker)
    ended = service.until_ended(work.run)
    assert ended["state_name"] == "Completed", ended["state"]["message"]
    assert len(work.painted()) == FRAMES
    began = time.time()
    service.start_workers(work.worker)
    print(f"worker killed: the new one is there after: {time.time() - began:.1f} s")
    assert service.until_ended(work.again())["state_name"] == "Completed"


def kill_server(service: Parts) -> None:
    work = begin(service, "server")
    service.kill("server")
    before, began = work.painted(), time.time()
    until(lambda: len(work.frames) == FRAMES and time.time() - began > MINUTE)
    service.start_server()
    print(f"server killed: gone for: {time.time() - began:.1f} s")
    began = time.time()
    tell("server killed: after it was back the run was Completed after", began, lambda: service.until_ended(work.run))
    require_the_rest_alone(work, before, work.run)
    tell("server killed: after it was back its process ended after", began, lambda: not service.engines(work.run))
    assert service.until_ended(work.again())["state_name"] == "Completed"


@dataclass(frozen=True)
class Abandoned:
    """A run that was killed together with its worker."""

    work: Work
    before: dict[str, int]
    killed: float


@dataclass(frozen=True)
class Recoveries:
    """What goes on at the same time, each with a slot of its own."""

    abandoned: Future[Abandoned]
    cancelled: Future[None]
    run_killed: Future[None]
    worker_killed: Future[None]
    server_killed: Future[None]


@pytest.fixture(scope="module")
def recoveries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recoveries]:
    """Most of their time is spent waiting: for heartbeats that do not come, and for a server, which is another one."""
    world, folders = tiny_models.made_once(tmp_path_factory), [tmp_path_factory.mktemp("recovery") for _ in range(2)]
    with ExitStack() as ends, ThreadPoolExecutor(4) as people:
        shared = people.submit(ends.enter_context, service_parts.in_parts(folders[0], world, *WORKERS))
        alone = people.submit(ends.enter_context, service_parts.in_parts(folders[1], world, "worker"))
        yield Recoveries(
            abandoned=people.submit(lambda: kill_run_and_worker(shared.result())),
            server_killed=people.submit(lambda: kill_server(alone.result())),
            cancelled=people.submit(lambda: cancel(shared.result())),
            run_killed=people.submit(lambda: kill_run(shared.result())),
            worker_killed=people.submit(lambda: kill_worker(shared.result())),
        )


def test_a_cancelled_run_stops_and_a_new_one_paints_the_rest(recoveries: Recoveries) -> None:
    recoveries.cancelled.result()


def test_a_run_whose_process_is_killed_has_crashed_and_its_retry_paints_the_rest(recoveries: Recoveries) -> None:
    recoveries.run_killed.result()


def test_a_run_whose_worker_is_killed_ends_well_and_another_worker_takes_the_next(recoveries: Recoveries) -> None:
    recoveries.worker_killed.result()


def test_a_run_paints_on_while_the_server_is_gone_and_ends_well_when_it_is_back(recoveries: Recoveries) -> None:
    recoveries.server_killed.result()


def test_a_run_that_was_killed_with_its_worker_frees_its_slot(recoveries: Recoveries) -> None:
    wait([recoveries.cancelled, recoveries.run_killed, recoveries.worker_killed])
    abandoned = recoveries.abandoned.result()
    work = abandoned.work
    ended = work.service.until_ended(work.run)
    assert ended["state_name"] == "Crashed"
    assert "No heartbeat for 150 seconds" in ended["state"]["message"]
    crashed = datetime.fromisoformat(ended["state"]["timestamp"]).timestamp()
    print(f"run and worker killed: Crashed after: {crashed - abandoned.killed:.1f} s")
    work.service.ask("work_pools/gpu", {"concurrency_limit": 1}, "PATCH")  # a slot that is still held is the only one
    require_the_rest_alone(work, abandoned.before, work.again())
