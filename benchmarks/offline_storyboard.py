"""Seconds from a typed command to a finished board, on the offline profile and whatever machine this is.

    python -m benchmarks.offline_storyboard --runs 3

Every run starts a new process with an empty store, as a newcomer's first one does after the set-up.
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

STORY = "Aldar Köse tricks a greedy merchant in the bazaar"
GOAL = 60.0
"""Seconds for six frames on two CPU cores."""


def measure(story: str, frames: int) -> tuple[float, dict[str, float], int]:
    """One run: wall seconds of the whole command, seconds per stage, and how many candidates it painted.

    Raises:
        subprocess.CalledProcessError: the storyboard failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "flows.storyboard", story, "--frames", str(frames), "--output-dir", folder]
        began = time.monotonic()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        seconds = time.monotonic() - began
        report = json.loads((Path(done.stdout.splitlines()[-1]) / "report.json").read_text(encoding="utf-8"))
    return seconds, report["seconds"], sum(len(frame["candidates"]) for frame in report["frames"])


def main() -> None:
    """Print a line for each run, and the median."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offline_storyboard", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=6, help="frames of the board (default: %(default)s)")
    parser.add_argument("--story", default=STORY, help="the tale (default: %(default)s)")
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    totals = []
    for run in range(given.runs):
        seconds, stages, painted = measure(given.story, given.frames)
        totals.append(seconds)
        shown = ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
        print(f"run {run + 1}: {seconds:.1f} s, {painted} candidates painted ({shown})", flush=True)
    print(f"median {statistics.median(totals):.1f} s for {given.frames} frames; the goal is {GOAL:.0f} s on two cores")


if __name__ == "__main__":
    main()
