"""One of several training processes. It and the launcher exchange these files in one folder:

job.json           what to do
ticks.jsonl        what the first process tells, a line each; the launcher reads it as it grows
failure-N.json     why process N failed, in the words of the error
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TextIO

from models.errors import StoryboardError, TrainingError
from models.lora.training.job import Job, Tick
from models.secrets import redaction
from models.secrets.keys import learn_environment

JOB, TICKS, FAILURE = "job.json", "ticks.jsonl", "failure-{rank}.json"


class _Teller(logging.Handler):
    """Sends the log of `models` to the launcher."""

    def __init__(self, file: TextIO) -> None:
        super().__init__(logging.INFO)
        self.file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        print(json.dumps({"level": record.levelname, "message": record.getMessage()}), file=self.file, flush=True)


def main(folder: Path) -> None:
    """Train. A failure is written to a file; an unforeseen one also keeps its traceback."""
    learn_environment()
    redaction.install()
    try:
        _train(folder)
    except StoryboardError as error:
        _tell_failure(folder, type(error).__name__, str(error))
        raise SystemExit(1) from None
    except Exception as error:
        _tell_failure(
            folder, TrainingError.__name__, redaction.redact(f"{type(error).__name__}: {error}").splitlines()[0]
        )
        raise


def _train(folder: Path) -> None:
    from models.lora.training.loop import train

    job = Job.model_validate_json((folder / JOB).read_bytes())
    rank = int(os.environ.get("RANK", "0"))
    with (folder / TICKS).open("a", encoding="utf-8") as file:
        if rank == 0:
            logger = logging.getLogger("models")
            logger.setLevel(logging.INFO)
            logger.addHandler(_Teller(file))

        def report(tick: Tick) -> None:
            print(tick.model_dump_json(), file=file, flush=True)

        threading.Thread(target=end_with_launcher, daemon=True).start()
        train(job, report)


def _tell_failure(folder: Path, error: str, message: str) -> None:
    """Write down why this process failed."""
    name = FAILURE.format(rank=os.environ.get("RANK", "0"))
    (folder / name).write_text(json.dumps({"error": error, "message": message}), encoding="utf-8")


def end_with_launcher() -> None:
    """End this process once its launcher is gone, also where it waits for a GPU or another process."""
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: this returns when the launcher's end of the pipe closes
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
