"""One process of a training that has several: started by the launcher, told everything by a folder.

job.json           what to do
ticks.jsonl        what the first process tells, a line each; the launcher reads it as it grows
failure-N.json     why process N failed, in the words of the error
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from models.errors import StoryboardError, TrainingError
from models.lora.job import Job, Tick

JOB, TICKS, FAILURE = "job.json", "ticks.jsonl", "failure-{rank}.json"
LAUNCHER = "TRAINING_LAUNCHER_PID"


class _Teller(logging.Handler):
    """Sends the log of `models` to the launcher."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(logging.INFO)
        self.file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        print(json.dumps({"level": record.levelname, "message": record.getMessage()}), file=self.file, flush=True)


def main(folder: Path) -> None:
    """Train; exit code 1 and a failure file if it fails for a reason that explains itself."""
    from models.lora.training import train

    job = Job.model_validate_json((folder / JOB).read_bytes())
    rank = int(os.environ.get("RANK", "0"))
    with (folder / TICKS).open("a", encoding="utf-8") as file:
        if rank == 0:
            logger = logging.getLogger("models")
            logger.setLevel(logging.INFO)
            logger.addHandler(_Teller(file))

        def report(tick: Tick) -> None:
            print(tick.model_dump_json(), file=file, flush=True)
            if not launcher_lives():
                raise TrainingError("the process that started the training is gone")

        try:
            train(job, report)
        except StoryboardError as error:
            failure = {"error": type(error).__name__, "message": str(error)}
            (folder / FAILURE.format(rank=rank)).write_text(json.dumps(failure), encoding="utf-8")
            raise SystemExit(1) from None


def launcher_lives() -> bool:
    """Whether the process that started the launch is still there: a killed one can't end this one."""
    try:
        os.kill(int(os.environ[LAUNCHER]), 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
