"""Boards asked of a service that is up: warm painters beside a process that loads its models for each run.

python -m benchmarks.service [--boards 4] [--frames 6]
python -m benchmarks.service --boards 40 --frames 1 --workers 4 --only painters

It starts `make up` twice, asks for one board, and then for several in the same moment. All boards have seeds of their
own, so that nothing is found in the store. The database is SQLite, or that of PREFECT_SERVER_DATABASE_CONNECTION_URL.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from models.board.directory import REPORT_FILE
from models.profiles import ROOT

STORY = "Aldar Köse tricks a greedy merchant in the bazaar"
COLUMNS = (
    "",
    "to Completed, s",
    "to the first frame, s",
    "boards an hour",
    "painting, share",
    "a run's process, MiB",
    "all asked, s",
    "503 until then",
    "places out of order",
)
EVERY = 0.1
"""Seconds between two looks."""
LONGEST = 1800.0


@dataclass
class Board:
    """A board that was asked for, and when what happened."""

    run: str
    asked: float
    ended: float = 0.0
    directory: Path | None = None

    def seconds(self) -> float:
        """From asking to Completed."""
        return self.ended - self.asked

    def first_frame(self) -> float:
        """Seconds from asking to the first frame on disk."""
        assert self.directory is not None
        return (self.directory / "frame_001.png").stat().st_mtime - self.asked

    def painting(self) -> float:
        """Seconds of the stage in which frames are painted."""
        assert self.directory is not None
        return float(json.loads((self.directory / REPORT_FILE).read_text("utf-8"))["seconds"]["frames"])


@dataclass
class Service:
    """A service that is up."""

    api: httpx.Client
    deployment: str
    frames: int
    process: psutil.Process
    peak: float = 0.0
    """Largest resident memory of a run's process, in MiB."""
    refused: int = 0
    """Requests that the server answered with 503, which is asked again."""
    seeds: Iterator[int] = field(default_factory=lambda: itertools.count(1000, 7))

    def ask(self) -> Board:
        """Ask for a board."""
        options = {"frames": self.frames, "seed": next(self.seeds), "attempts": 1}
        body = {"parameters": {"story": STORY, "options": {"profile": "steppe", **options}}}
        asked = time.time()
        made = self._answer("POST", f"deployments/{self.deployment}/create_flow_run", body)
        return Board(str(made["id"]), asked)

    def ask_for(self, count: int) -> list[Board]:
        """Ask for so many boards in the same moment."""
        with ThreadPoolExecutor(count) as people:
            return list(people.map(lambda _: self.ask(), range(count)))

    def out_of_order(self, boards: list[Board]) -> int:
        """Return by how many places a board was begun at most before or after its turn.

        Raises:
            SystemExit: a board was begun more than once.
        """
        runs = [self._answer("GET", f"flow_runs/{board.run}") for board in boards]
        twice = [run["id"] for run in runs if run["run_count"] != 1]
        if twice or len({board.directory for board in boards}) != len(boards):
            raise SystemExit(f"boards were made twice: {twice}")
        turns = {run["id"]: turn for turn, run in enumerate(sorted(runs, key=lambda run: run["expected_start_time"]))}
        begun = enumerate(sorted(runs, key=lambda run: run["start_time"]))
        places, furthest = max((abs(turns[run["id"]] - place), run["id"]) for place, run in begun)
        states = self._answer("GET", f"flow_run_states/?flow_run_id={furthest}")
        told = ", ".join(f"{state['name']} {state['timestamp']}" for state in states)
        print(f"furthest from its turn, by {places}: {furthest}: {told}", file=sys.stderr, flush=True)
        return places

    def wait(self, boards: list[Board]) -> None:
        """Wait until all are Completed."""
        end = time.monotonic() + LONGEST
        while open_boards := [board for board in boards if not board.ended]:
            assert time.monotonic() < end, "the boards did not end"
            for board in open_boards:
                run = self._answer("GET", f"flow_runs/{board.run}")
                if run["state_type"] in ("FAILED", "CRASHED", "CANCELLED"):
                    raise SystemExit(f"a run ended: {run['state']['message']}")
                if run["state_type"] == "COMPLETED":
                    board.ended, board.directory = time.time(), self._directory(board)
            self._look_at_memory()
            time.sleep(EVERY)

    def seconds_painting(self, boards: list[Board]) -> float | None:
        """Seconds in which the painters painted these boards; None without painters."""
        wanted = {"flow_run_id": {"any_": [board.run for board in boards]}, "key": {"any_": ["painters"]}}
        pages = self._answer("POST", "artifacts/filter", {"artifacts": wanted})
        rows = [row for page in pages for row in json.loads(page["data"])]
        return sum(float(row["seconds painting"]) for row in rows) if rows else None

    def _answer(self, method: str, path: str, body: Any = None) -> Any:
        end = time.monotonic() + LONGEST
        while time.monotonic() < end:
            answer = self.api.request(method, path, json=body)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer.raise_for_status().json()
            self.refused += 1
            time.sleep(EVERY)
        raise SystemExit("the server's database is locked")

    def _directory(self, board: Board) -> Path:
        (found,) = [path for path in Path("outputs").glob(f"*/{REPORT_FILE}") if board.run in path.read_text("utf-8")]
        return found.parent

    def _look_at_memory(self) -> None:
        for child in self.process.children(recursive=True):
            try:
                if "prefect.engine" in " ".join(child.cmdline()):
                    self.peak = max(self.peak, child.memory_info().rss / 2**20)
            except psutil.Error:
                continue


def main() -> None:
    """Measure both ways, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boards", type=int, default=4)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--painters", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, help="beside painters (default: %(default)s)")
    parser.add_argument("--only", choices=("processes", "painters"), help="only this way")
    given = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS))
    ways = {
        "processes": ("a process that loads for each run", []),
        "painters": ("warm painters", ["--painters", str(given.painters), "--workers", str(given.workers)]),
    }
    for name, arguments in [ways[given.only]] if given.only else ways.values():
        with tempfile.TemporaryDirectory() as folder, up(Path(folder), arguments, given.frames) as service:
            print(f"| {name} | {measured(service, given.boards)} |", flush=True)


def measured(service: Service, count: int) -> str:
    """Return the cells of one way."""
    service.wait([service.ask()])  # the first of all compiles bytecode, and fills the disk's cache
    one = service.ask()
    service.wait([one])
    begun = time.time()
    before = service.refused
    many = service.ask_for(count)
    asked, refused = time.time() - begun, service.refused - before
    service.wait(many)
    seconds = max(board.ended for board in many) - begun
    painting = service.seconds_painting(many)
    busy = (painting if painting is not None else sum(board.painting() for board in many)) / seconds
    cells = [f"{one.seconds():.1f}", f"{one.first_frame():.1f}", f"{3600 * count / seconds:.0f}"]
    cells += [
        f"{100 * busy:.0f} %",
        f"{service.peak:.0f}",
        f"{asked:.1f}",
        f"{refused}",
        f"{service.out_of_order(many)}",
    ]
    return " | ".join(cells)


@contextmanager
def up(folder: Path, arguments: list[str], frames: int) -> Iterator[Service]:
    """Start the service in a folder of its own; it is ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    own = {**os.environ, "PREFECT_HOME": str(folder / "prefect"), "PYTHONPATH": str(ROOT)}
    os.chdir(folder)
    (folder / "configs").symlink_to(ROOT / "configs")
    command = [sys.executable, "-m", "deployments.up", "--port", str(port), *arguments]
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, env=own, stdout=said, stderr=said)
    try:
        _until(lambda: "Ctrl-C ends" in (folder / "said.txt").read_text("utf-8") or process.poll() is not None)
        assert process.poll() is None, (folder / "said.txt").read_text("utf-8")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/", timeout=60, trust_env=False) as api:
            deployment = api.get("deployments/name/storyboard/steppe").raise_for_status().json()["id"]
            yield Service(api, deployment, frames, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()
        os.chdir(ROOT)


def _until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
