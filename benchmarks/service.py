"""Boards asked of a service that is up: warm painters beside a process that loads its models for each run.

    python -m benchmarks.service [--boards 4] [--frames 6]
    python -m benchmarks.service --boards 40 --frames 1 --runs 4 --only painters
    python -m benchmarks.service --models FOLDER --boards 8 --painters 1 2    # of benchmarks.full_size

It starts `make up` for each row, asks for one board, and then for several in the same moment. All boards have seeds of
their own, so that nothing is found in the store. The database is SQLite, or that of
PREFECT_SERVER_DATABASE_CONNECTION_URL.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.architectures import NAME, PROFILES_FILE
from deployments.gpus import visible_gpus
from models.board.directory import REPORT_FILE
from models.profiles import ROOT
from models.sources import OWN_PROFILES

STORY = "Aldar Köse tricks a greedy merchant in the bazaar"
COLUMNS = (
    "",
    "to Completed, s",
    "to the first frame, s",
    "boards an hour",
    "GPUs at work, share",
    "painting, share",
    "a frame waited, s",
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
    options: dict[str, Any]
    """Of all its boards."""
    process: psutil.Process
    peak: float = 0.0
    """Largest memory of a run's process, in MiB; pages that processes share are divided among them."""
    refused: int = 0
    """Requests that the server answered with 503, which is asked again."""
    seeds: Iterator[int] = field(default_factory=lambda: itertools.count(1000, 7))

    def ask(self) -> Board:
        """Ask for a board."""
        options = {**self.options, "seed": next(self.seeds), "attempts": 1}
        body = {"parameters": {"story": STORY, "options": options}, "idempotency_key": uuid.uuid4().hex}
        asked = time.time()
        made = self.answer("POST", f"deployments/{self.deployment}/create_flow_run", body)
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
        runs = [self.answer("GET", f"flow_runs/{board.run}") for board in boards]
        twice = [run["id"] for run in runs if run["run_count"] != 1]
        if twice or len({board.directory for board in boards}) != len(boards):
            raise SystemExit(f"boards were made twice: {twice}")
        places, furthest = furthest_from_its_turn(runs)
        states = self.answer("GET", f"flow_run_states/?flow_run_id={furthest}")
        told = ", ".join(f"{state['name']} {state['timestamp']}" for state in states)
        print(f"furthest from its turn, by {places}: {furthest}: {told}", file=sys.stderr, flush=True)
        return places

    def wait(self, boards: list[Board]) -> None:
        """Wait until all are Completed."""
        end = time.monotonic() + LONGEST
        while open_boards := [board for board in boards if not board.ended]:
            assert time.monotonic() < end, "the boards did not end"
            for board in open_boards:
                run = self.answer("GET", f"flow_runs/{board.run}")
                if run["state_type"] in ("FAILED", "CRASHED", "CANCELLED"):
                    raise SystemExit(f"a run ended: {run['state']['message']}")
                if run["state_type"] == "COMPLETED":
                    board.ended, board.directory = time.time(), self._directory(board)
            self._look_at_memory()
            time.sleep(EVERY)

    def turnarounds(self, boards: list[Board]) -> list[dict[str, Any]]:
        """Return what each frame of these boards took at the painters; nothing without painters."""
        wanted = {"flow_run_id": {"any_": [board.run for board in boards]}, "key": {"any_": ["painters"]}}
        pages = self.answer("POST", "artifacts/filter", {"artifacts": wanted})
        return [row for page in pages for row in json.loads(page["data"])]

    def answer(self, method: str, path: str, body: Any = None) -> Any:
        """Return the server's answer; 503 is asked again."""
        end = time.monotonic() + LONGEST
        while time.monotonic() < end:
            with suppress(httpx.ReadError):  # it closed a connection that it had kept for too long
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
                if "deployments.prefork" in (told := " ".join(child.cmdline())) or "prefect.engine" in told:
                    self.peak = max(self.peak, child.memory_full_info().pss / 2**20)
            except psutil.Error:
                continue


def main() -> None:
    """Measure both ways, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder of benchmarks.full_size (default: the offline profile)")
    parser.add_argument(
        "--boards", type=int, default=4, help="for each painter, asked in the same moment (default: %(default)s)"
    )
    parser.add_argument("--frames", type=int, default=6, help="of each board (default: %(default)s)")
    parser.add_argument("--painters", type=int, nargs="*", default=[1], help="a row for each number (default: 1)")
    parser.add_argument("--runs", type=int, help="at once, for each painter (default: as many as make up chooses)")
    parser.add_argument("--only", choices=("processes", "painters"), help="only this way")
    given = parser.parse_args()
    profile, options = own_models(given.models)
    options["frames"] = given.frames
    print("| " + " | ".join(COLUMNS) + " |\n|" + " --- |" * len(COLUMNS), flush=True)
    for painters in [
        *([] if given.only == "painters" else [0]),
        *([] if given.only == "processes" else given.painters),
    ]:
        name = f"{painters} warm painter(s)" if painters else "a process that loads for each run"
        warm = ["--painters", str(painters), "--profile", profile]
        warm += ["--workers", str(painters * given.runs)] if given.runs else []
        with tempfile.TemporaryDirectory() as folder, up(Path(folder), warm if painters else [], options) as service:
            print(f"| {name} | {measured(service, given.boards * max(1, painters))} |", flush=True)


def own_models(folder: Path | None) -> tuple[str, dict[str, Any]]:
    """Return the profile's name, and the options of a board that is painted with these models."""
    if folder is None:
        return "steppe", {"profile": "steppe"}
    os.environ[OWN_PROFILES] = str(folder.absolute() / PROFILES_FILE)
    return NAME, {"profile": NAME, "lora_path": str(folder.absolute() / "lora")}


def measured(service: Service, count: int) -> str:
    """Return the cells of one way."""
    service.wait([service.ask()])  # the first of all compiles bytecode and kernels, and fills the disk's cache
    one = service.ask()
    service.wait([one])
    begun = time.time()
    before = service.refused
    with gpus_at_work() as work:
        many = service.ask_for(count)
        asked, refused = time.time() - begun, service.refused - before
        service.wait(many)
    seconds, rows = max(board.ended for board in many) - begun, service.turnarounds(many)
    cells = [f"{one.seconds():.1f}", f"{one.first_frame():.1f}", f"{3600 * count / seconds:.0f}"]
    if work:  # frames of a batch are painted in the same seconds, so that those can't be added up
        cells += [f"{statistics.mean(work):.0f} %", "–"]
    else:
        painting = [row["seconds painting"] for row in rows] or [board.painting() for board in many]
        cells += ["–", f"{100 * sum(painting) / seconds:.0f} %"]
    cells += [f"{statistics.mean(row['seconds waiting'] for row in rows):.1f}" if rows else "–"]
    cells += [f"{service.peak:.0f}", f"{asked:.1f}", f"{refused}", f"{service.out_of_order(many)}"]
    return " | ".join(cells)


@contextmanager
def gpus_at_work() -> Iterator[list[float]]:
    """Yield a list that afterwards holds how many percent of the time each GPU ran a kernel, five times a second."""
    gpus, shares = visible_gpus(), list[float]()
    if not gpus:
        yield shares
        return
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200"]
    with subprocess.Popen([*query, "-i", ",".join(gpus)], stdout=subprocess.PIPE, text=True) as watch:
        yield shares
        watch.terminate()
        said, _ = watch.communicate()
    shares += [float(line) for line in said.splitlines() if line.strip().isdigit()]


def furthest_from_its_turn(runs: list[dict[str, Any]]) -> tuple[int, str]:
    """Return by how many places a run was begun at most before or after its turn, and its id."""
    turns = {run["id"]: turn for turn, run in enumerate(sorted(runs, key=lambda run: run["expected_start_time"]))}
    begun = enumerate(sorted(runs, key=lambda run: run["start_time"]))
    return max((abs(turns[run["id"]] - place), run["id"]) for place, run in begun)


def path_with_project() -> str:
    """Return PYTHONPATH with the project before what it names."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@contextmanager
def up(folder: Path, arguments: list[str], options: dict[str, Any]) -> Iterator[Service]:
    """Start the service in a folder of its own; it is ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    own = {**os.environ, "PREFECT_HOME": str(folder / "prefect"), "PYTHONPATH": path_with_project()}
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
            yield Service(api, deployment, options, psutil.Process(process.pid))
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
