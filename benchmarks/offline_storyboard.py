"""Seconds from the command to a finished storyboard, on the offline profile and this machine.

    python -m benchmarks.offline_storyboard --runs 3

Every run starts a new process with an empty store. Then the same command runs again. It finds everything in the store,
so its time is that of Python's start, the temporary server, and Prefect's share of each stage.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, get_args

from models.profiles import Speed

STORY = "Aldar Köse tricks a greedy merchant in the bazaar"
GOAL = 60.0
"""Seconds for six frames on two CPU cores."""


class Ran(NamedTuple):
    """One run of the command."""

    seconds: float
    """Wall time of the whole command."""
    computed: float
    """Processor time of the command and its server, which other work on the machine changes less."""
    stages: dict[str, float]
    """Seconds that the flow waited for each stage."""
    painted: int
    """Candidates that this run painted."""

    def __str__(self) -> str:
        stages = ", ".join(f"{name} {value:.1f}" for name, value in self.stages.items())
        rest = self.seconds - sum(self.stages.values())
        took = f"{self.seconds:.1f} s, {self.computed:.1f} of processor time"
        return f"{took}, {self.painted} candidates painted ({stages}, around them {rest:.1f})"


def measure(story: str, frames: int, speed: str, folder: str) -> Ran:
    """Run the command with its store and outputs in `folder`.

    Raises:
        subprocess.CalledProcessError: the storyboard failed.
    """
    command = [sys.executable, "-m", "flows.storyboard", story, "--frames", str(frames), "--speed", speed]
    command += ["--output-dir", folder]
    began, before = time.monotonic(), os.times()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    seconds, after = time.monotonic() - began, os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    report = json.loads((Path(done.stdout.splitlines()[-1]) / "report.json").read_text(encoding="utf-8"))
    return Ran(seconds, processor, report["seconds"], sum(frame["painted"] for frame in report["frames"]))


def main() -> None:
    """Print a line for each run, and the medians."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.offline_storyboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=3, help="how often (default: %(default)s)")
    parser.add_argument("--speed", choices=get_args(Speed), default="exact", help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=6, help="frames of the board (default: %(default)s)")
    parser.add_argument("--story", default=STORY, help="the tale (default: %(default)s)")
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    firsts: list[float] = []
    seconds: list[float] = []
    for run in range(1, given.runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            for when, totals in (("", firsts), (" again", seconds)):
                ran = measure(given.story, given.frames, given.speed, folder)
                totals.append(ran.seconds)
                print(f"run {run}{when}: {ran}", flush=True)
    print(f"median {statistics.median(firsts):.1f} s for {given.frames} frames; the goal is {GOAL:.0f} s on two cores")
    print(f"median {statistics.median(seconds):.1f} s again, where nothing is painted")


if __name__ == "__main__":
    main()
