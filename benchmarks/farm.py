"""A farm without GPUs: painters that sleep as long as a painting takes, to see what gives way first and how soon.

    python -m benchmarks.farm --replicas 64 --boards 1000 --runs 48

Ray Serve, the Prefect server, its database, the worker and the runs are real. The database is that of
PREFECT_SERVER_DATABASE_CONNECTION_URL, which should be PostgreSQL.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import psutil
from PIL import Image

from benchmarks.service import Service, furthest_from_its_turn, path_with_project, up
from deployments.painters import as_deployment
from models.board.directory import REPORT_FILE
from models.diffusion.compute import DeviceThread, Ticket
from models.diffusion.machine import Machine
from models.diffusion.requests import PainterSetup
from models.loras import fingerprint_of
from models.painters.painter import FrameOrder, Loaded, ScoredPicture, Turnaround, Watch
from models.painters.parcels import LoraShelf
from models.painters.pulse import Pulse
from models.painters.ray_cluster import APP, import_ray
from models.painters.ray_replica import MOST, Replica
from models.profiles import get_profile
from models.records import Weights
from models.scores import Scores

PAGE = 200
"""Runs that the server tells of at once."""
EVERY = 2.0
"""Seconds between two looks."""
LOOK = ("server", "database", "worker", "Ray", "all else: runs")
WORDS = {"prefect server": "server", "uvicorn": "server", "postgres": "database", "prefect worker": "worker"}
"""Part of a process's command -> what it belongs to."""


class _Nap(Ticket):
    """A frame that waits in the painter's queue, which is a real one."""

    batch_seconds, frame_seconds = 0.0, 0.0

    def __init__(self, order: FrameOrder) -> None:
        first_frame = order.reference is None  # which is asked alone
        super().__init__(get_profile("sdxl").batch_size_on_gpu, order.urgent, lingers=not first_frame)
        self.key = (order.setup, order.request.batch_key)
        self.begun, self.over = 0.0, Future[None]()

    def fits(self, other: Self) -> bool:
        return self.key == other.key

    @classmethod
    def do(cls, batch: Sequence[Self]) -> None:
        """Sleep as long as painting these takes."""
        for nap in batch:
            nap.begun = time.monotonic()
        time.sleep(cls.batch_seconds + cls.frame_seconds * len(batch))
        for nap in batch:
            nap.over.set_result(None)


class Asleep:
    """A painter that sleeps."""

    def __init__(self, frame_seconds: float, batch_seconds: float) -> None:
        _Nap.frame_seconds, _Nap.batch_seconds = frame_seconds, batch_seconds
        self.gpu = DeviceThread()

    def machine(self) -> Machine:
        """Return a device without torch."""
        return Machine(device="cpu", name="cpu", memory=None)

    def paint(self, order: FrameOrder, watch: Watch) -> ScoredPicture:
        """Return a picture that is all of one colour, when its turn and its time are over."""
        nap = _Nap(order)
        ahead = self.gpu.ask(nap)
        nap.over.result()
        if watch.on_progress is not None:
            watch.on_progress(1.0)
        image = Image.new("RGB", (order.request.size.width, order.request.size.height), (90, 140, 90))
        took = Turnaround(nap.begun - nap.asked, time.monotonic() - nap.begun, ahead)
        return ScoredPicture(image, Scores(consistency=None, prompt=0.2), took)


class Sleeper(Replica):
    """A replica whose painter sleeps. It imports no torch, so that many fit on one machine."""

    def __init__(self, frame_seconds: float, batch_seconds: float) -> None:
        painter = Asleep(frame_seconds, batch_seconds)
        self.painter, self.shelf, self.hangs = painter, LoraShelf(), 300.0  # type: ignore[assignment]
        self.loaded, self.lock, self.pulse = {}, threading.Lock(), Pulse()
        self.threads = ThreadPoolExecutor(MOST)

    def _load(self, setup: PainterSetup) -> Loaded:
        weights = Weights(base="b", controlnet="n", clip="c", adapter=fingerprint_of(list(setup.adapters)))
        return Loaded(weights=weights, loras=(), encoder="c")


def main() -> None:
    """Ask for the boards in one moment, and print when all were made, in which order, and whose the processor was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=64, help="painters (default: %(default)s)")
    parser.add_argument("--boards", type=int, default=1000, help="asked at once (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=48, help="at once (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a frame (default: %(default)s)")
    parser.add_argument("--batch-seconds", type=float, default=0.7, help="of a batch, besides (default: %(default)s)")
    given = parser.parse_args()
    os.environ["STORYBOARD_PAINTERS"] = asleep(given.replicas, given.seconds, given.batch_seconds)
    options = {"profile": "steppe", "attempts": 1, "speed": "plain"}
    with (
        tempfile.TemporaryDirectory() as folder,
        up(Path(folder), ["--workers", str(given.runs)], options) as service,
    ):
        service.wait([service.ask()])
        sys.stdout.write(told(service, given.boards))


def asleep(replicas: int, frame_seconds: float, batch_seconds: float) -> str:
    """Start a cluster of such painters in this process, and return its address."""
    os.environ["PYTHONPATH"] = path_with_project()
    ray = import_ray("127.0.0.1:0")
    ray.init(num_cpus=replicas, include_dashboard=False, object_store_memory=512 * 2**20, log_to_driver=False)
    ray.serve.start(proxy_location="Disabled")
    sleepers = as_deployment(Sleeper, num_replicas=replicas, ray_actor_options={"num_cpus": 1})
    ray.serve.run(sleepers.bind(frame_seconds, batch_seconds), name=APP, route_prefix=None)
    return str(ray.get_runtime_context().gcs_address)


def told(service: Service, count: int) -> str:
    """Return what asking for so many boards gave, as a table."""
    begun, work = time.time(), processor_seconds()
    with ThreadPoolExecutor(16) as people:
        boards = list(people.map(lambda _: service.ask(), range(count)))
    asked = time.time() - begun
    while left := count - _completed(service) + 1:
        sys.stderr.write(f"{time.time() - begun:.0f} s: {left} left\n")
        time.sleep(EVERY)
    spent, looked = processor_seconds() - work, time.time() - begun
    runs = [run for run in _all_runs(service) if run["id"] in {board.run for board in boards}]
    seconds = max(datetime.fromisoformat(run["end_time"]).timestamp() for run in runs) - begun
    reports = " ".join(path.read_text("utf-8") for path in Path("outputs").glob(f"*/{REPORT_FILE}"))
    rows = {
        "boards": count,
        "asked, a second": f"{count / asked:.1f}",
        "made, a second": f"{count / seconds:.2f}",
        "made, an hour": f"{3600 * count / seconds:.0f}",
        "lost": count - sum(run["id"] in reports for run in runs),
        "made twice": sum(run["run_count"] != 1 for run in runs),
        "places out of order, at most": furthest_from_its_turn(runs)[0],
        "answers of 503": service.refused,
        **{f"processor seconds a board, {name}": f"{spent[name] / count:.2f}" for name in LOOK},
        "processor at work": f"{100 * sum(spent.values()) / looked / (os.cpu_count() or 1):.0f} %",
    }
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items()) + "\n"


def processor_seconds() -> Counter[str]:
    """Return the processor seconds so far of what is to be looked at; runs have all that nobody else has."""
    found, all_of_them = Counter[str](), psutil.cpu_times()
    for process in psutil.process_iter(["cmdline", "cpu_times", "name"]):
        told, spent = " ".join(process.info["cmdline"] or [process.info["name"]]), process.info["cpu_times"]
        whose = next((name for words, name in WORDS.items() if words in told), "Ray" if "ray" in told else "")
        if whose and spent is not None:
            found[whose] += spent.user + spent.system
    busy = sum(all_of_them) - all_of_them.idle - getattr(all_of_them, "iowait", 0.0)
    return found + Counter({LOOK[-1]: busy - found.total()})


def _completed(service: Service) -> int:
    ended = {"state": {"type": {"any_": ["FAILED", "CRASHED", "CANCELLED"]}}}
    if bad := service.answer("POST", "flow_runs/filter", {"flow_runs": ended, "limit": 1}):
        raise SystemExit(f"a run ended: {bad[0]['state']['name']}: {bad[0]['state']['message']}")
    wanted = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    return int(service.answer("POST", "flow_runs/count", wanted))


def _all_runs(service: Service) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := service.answer("POST", "flow_runs/filter", {"limit": PAGE, "offset": len(found), "sort": "ID_DESC"}):
        found += page
    return found


if __name__ == "__main__":
    main()
