"""Start a training: in this process, or in several by torchrun, each on its own GPU or all on the CPU."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from models import errors
from models.diffusion.weights import give_memory_back
from models.errors import InputError, OutOfMemory, StoryboardError, TrainingError
from models.lora.configuration.accelerate_settings import AccelerateSettings
from models.lora.training.belonging import checkpoints_of
from models.lora.training.job import Job, Report, Tick
from models.lora.training.memory import in_words, with_less
from models.lora.training.worker import FAILURE, JOB, TICKS
from models.storage.files import local_errors

logger = logging.getLogger("models.lora")

WORKER = ("-m", "models.lora.training.worker")
_POLL = 0.2
_PATIENCE = 20.0
"""Seconds that processes have to end by themselves before they are killed."""
_LAST_LINES = 3


def run(job: Job, report: Report, settings: AccelerateSettings | None = None) -> None:
    """Train until all updates are made. If memory runs out, go on from the last checkpoint with less.

    Args:
        job: what to do.
        report: called after each update and each checkpoint. What it raises stops the training.
        settings: accelerate's; needed for several processes.

    Raises:
        TrainingError: a process ended without saying why.
        OutOfMemory: in the least memory too; another try would be the same.
        StoryboardError: what the training raised: see `models.lora.training.loop.train`.
    """
    while (lack := _train_once(job, report, settings)) is not None:
        less = with_less(job.options)
        if less is None:
            raise lack
        logger.warning("%s; going on with %s", lack, in_words(less))
        own = checkpoints_of(Path(job.options.output_dir).absolute(), job)
        job = job.model_copy(update={"options": less, "start": own[-1].path if own else None})
        lack = None
        give_memory_back()


def _train_once(job: Job, report: Report, settings: AccelerateSettings | None) -> OutOfMemory | None:
    """Train. If memory runs out, return the error without its traceback, whose frames would keep the memory."""
    try:
        _train(job, report, settings)
    except OutOfMemory as error:
        return OutOfMemory(str(error), retryable=False)
    return None


def _train(job: Job, report: Report, settings: AccelerateSettings | None) -> None:
    if job.processes == 1:
        from models.lora.training.loop import train

        train(job, report)
    else:
        launch(job, report, settings or AccelerateSettings(num_processes=job.processes))


def launch(job: Job, report: Report, settings: AccelerateSettings, worker: tuple[str, ...] = WORKER) -> None:
    """Train in one process a GPU, or in several on the CPU.

    Raises:
        InputError: this system has no groups of processes, by which all of them could be ended.
        As `run`.
    """
    if not hasattr(os, "killpg"):
        raise InputError(f"{job.processes} training processes need Linux or macOS: set num_processes to 1")
    output = Path(job.options.output_dir).absolute()
    with local_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".processes-", dir=output))
        (folder / JOB).write_text(job.model_dump_json(), encoding="utf-8")
        (folder / TICKS).touch()
    try:
        torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node", str(job.processes))
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", *torchrun, *worker, str(folder)],
                env=os.environ | _environment(job, settings),
                stdin=subprocess.PIPE,  # it is closed when this process ends, and then the workers end
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process, which then ends the others
            ) as process,
        ):
            try:
                _follow(process, folder, report)
            finally:
                _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(job: Job, settings: AccelerateSettings) -> dict[str, str]:
    """What accelerate reads in each process to find its device."""
    if job.device == "cpu":
        return {"ACCELERATE_USE_CPU": "true"}
    from accelerate.utils import check_cuda_p2p_ib_support

    visible = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, settings.gpu_ids))} if settings.gpu_ids else {}
    # Some GPUs cannot reach each other directly: accelerate refuses them until NCCL is told not to try.
    apart = {} if check_cuda_p2p_ib_support() else {"NCCL_P2P_DISABLE": "1", "NCCL_IB_DISABLE": "1"}
    return {"ACCELERATE_USE_CPU": "false", **visible, **apart}


def _follow(process: subprocess.Popen[bytes], folder: Path, report: Report) -> None:
    """Report what the first process writes, until all processes have ended."""
    with (folder / TICKS).open(encoding="utf-8") as told:
        while process.poll() is None:
            _pass_on(told, report)
            time.sleep(_POLL)
        _pass_on(told, report)
    if process.returncode:
        raise _failure(folder, process.returncode)


def _pass_on(told: IO[str], report: Report) -> None:
    while True:
        start, line = told.tell(), told.readline()
        if not line.endswith("\n"):
            told.seek(start)  # the line is not complete yet
            return
        said = json.loads(line)
        if "message" in said:
            logger.log(logging.getLevelName(said["level"]), "%s", said["message"])
        else:
            report(Tick.model_validate(said))


def _failure(folder: Path, code: int) -> StoryboardError:
    """The error of the process that failed first, as far as it said one."""
    files = sorted(folder.glob(FAILURE.format(rank="*")), key=lambda file: file.stat().st_mtime)
    if files:
        said = json.loads(files[0].read_bytes())
        kind = getattr(errors, said["error"], TrainingError)
        return kind(said["message"]) if issubclass(kind, StoryboardError) else TrainingError(said["message"])
    lines = (folder / "log").read_text(encoding="utf-8", errors="replace").split("\n")
    last = " / ".join(line.strip() for line in [line for line in lines if line.strip()][-_LAST_LINES:])
    return TrainingError(f"a training process ended with exit code {code}: {last}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End all processes of the group, and wait for them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
