"""One process of several of a training that only says so: FOLDER. It imports nothing that trains.

It tells of three updates, then waits if the job has more, and otherwise fails.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType

from models.errors import InputError
from models.lora.training import worker
from models.lora.training.job import Job, Report, Tick


class _Loop(ModuleType):
    """Stands in for the module that trains."""

    @staticmethod
    def train(job: Job, report: Report) -> None:
        for step in (1, 2, 3):
            report(Tick(step=step))
        if job.updates <= 3:
            raise InputError("no update is left")
        threading.Event().wait()


if __name__ == "__main__":
    sys.modules["models.lora.training.loop"] = _Loop("loop")
    worker.main(Path(sys.argv[1]))
