"""A training in a process of its own, to which something happens: WORLD JOB.json [kill|fill STEP].

kill: the process is gone, as if the power were cut. fill: from then on no file may grow, as on a full disk.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import tiny_models

from models.errors import StoryboardError
from models.lora.training.job import Job, Tick
from models.lora.training.loop import train
from models.profiles import PROFILES


def main(world: str, job: str, what: str = "", at: str = "0") -> None:
    """Train, and let it happen after that update."""
    PROFILES["tiny"] = tiny_models.profile(Path(world))

    def report(tick: Tick) -> None:
        if tick.step == int(at) and what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if tick.step == int(at) and what == "fill":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    try:
        train(Job.model_validate_json(Path(job).read_bytes()), report)
    except StoryboardError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None


if __name__ == "__main__":
    main(*sys.argv[1:])
