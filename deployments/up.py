"""Start everything on one machine: a Prefect server, the work pool, all deployments and a worker.

python -m deployments.up      (or make up)

Ctrl-C ends all of it.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field

from deployments import engine
from deployments.gpus import visible_gpus
from deployments.pool import RUN_ENVIRONMENT
from deployments.processes import Family
from flows.commands.command import Command
from flows.commands.server_answers import TO_START, answers
from flows.proxies import leave_out_loopback
from flows.terminal import FAILURE, last_words, say, stop
from models.errors import InputError, StoryboardError
from models.forms.form import Form, Group
from models.option_types import ProfileName
from models.profiles import STEPPE
from models.settings import EMBEDDED, painters_here

HOST, PORT = "127.0.0.1", 4200
LOGS = Path("outputs/service")
STORY = "Aldar Köse outwits the khan"
QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
CONNECTIONS = ("PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE", "20")
"""Of the server to PostgreSQL, and 10 more; with Prefect's 5 requests of 32 runs waited for one until they failed."""
RUNS_A_PAINTER = {True: 4, False: 2}
"""Runs at once for each warm painter with a GPU or without: while one is painted, others start and write their boards;
on a CPU they take time from it."""
FORKS = sys.platform == "linux"
"""Whether runs are forked. On macOS a fork of a process that has used its libraries is not safe."""
LIVE_LOGS = {"PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true", "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true"}
"""Settings with which `prefect deployment run --watch` shows a failed task's message, not only its failure."""


_ANOTHER = "move prefect.db in PREFECT_HOME (~/.prefect) away, or set PREFECT_HOME to another folder"
HINTS = {
    "not a database": f"; {_ANOTHER}",
    "Can't locate revision": f"; the database was made by a later Prefect: install that, or {_ANOTHER}",
    "unable to open database": "; set PREFECT_HOME to a folder that can be written",
    "database or disk is full": "; free some disk, or set PREFECT_HOME to another one",
}
"""Part of a server's error about its database -> the way out."""


def environment(port: int) -> dict[str, str]:
    """Return the environment of server and workers: this process's, and each other's addresses."""
    url, own = f"http://{HOST}:{port}", dict(os.environ)
    leave_out_loopback(own)
    own |= {**QUIET, **LIVE_LOGS}
    own |= {"PREFECT_API_URL": f"{url}/api", "PREFECT_SERVER_UI_API_URL": f"{url}/api", "PREFECT_UI_URL": url}
    own["PREFECT_WORKER_QUERY_SECONDS"] = "1"
    own.setdefault(*CONNECTIONS)
    if "PREFECT_SERVER_API_AUTH_STRING" in own:
        own["PREFECT_API_AUTH_STRING"] = own["PREFECT_SERVER_API_AUTH_STRING"]
    return own


def up(port: int, runs: int | None = None, painters: int = 0, profile: str = STEPPE.name) -> None:
    """Start everything, print the addresses, and wait until something ends.

    Args:
        runs: how many at once. None: 1, or, with painters, some for each of them.

    Raises:
        InputError: the port is taken, there are fewer GPUs than workers, or the environment has a wrong option.
        StoryboardError: a process did not start, or has ended.
        KeyboardInterrupt: Ctrl-C or a signal.
    """
    if _is_taken(port):
        raise InputError(
            f"port {port} is taken, perhaps by a running service: end it, or choose another port with --port"
        )
    own, prefect = environment(port), [sys.executable, "-m", "prefect"]
    runs = runs or RUNS_A_PAINTER[bool(visible_gpus())] * painters or 1
    workers = workers_of(runs, painters > 0 or painters_here()["painters"] != EMBEDDED)
    with _alone_here(), tempfile.TemporaryDirectory() as folder, Family() as family:
        say("starting the server")
        family.start("server", [*prefect, "server", "start", "--host", HOST, "--port", str(port)], own, _log("server"))
        _wait_until_it_answers(family, port)
        bootstrap = [sys.executable, "-m", "deployments.bootstrap", *(["--slots", str(runs)] if runs > 1 else [])]
        if painters:
            own |= _painters(family, painters, profile, own)
        if FORKS:
            own |= _forks(family, own, Path(folder) / "runs")
            bootstrap += ["--command", shlex.join([sys.executable, "-m", engine.__name__])]
        say("deploying")
        family.start("bootstrap", bootstrap, own, _log("bootstrap"))
        if family.wait_for("bootstrap"):
            raise StoryboardError(f"the server could not be made ready: {last_words_of('bootstrap')}")
        for number, worker in enumerate(workers, start=1):
            name = f"worker-{number}"
            limit = ["--limit", str(worker.runs), "--name", f"{socket.gethostname()}-{number}"]
            command = [*prefect, "worker", "start", "--pool", "gpu", *limit]
            family.start(name, command, {**own, **worker.seen}, _log(name))
        _greet(port)
        while not (ended := family.ended()):
            time.sleep(0.5)
        raise StoryboardError(f"the {ended} ended: {last_words_of(ended)}")


class Worker(NamedTuple):
    """One of the service's workers."""

    runs: int
    """At once."""
    seen: Mapping[str, str]
    """Its environment besides the service's."""


def workers_of(runs: int, painted_elsewhere: bool) -> list[Worker]:
    """Return the workers for so many runs at once: one that sees all GPUs, or one for each run, with a GPU of its own.

    Raises:
        InputError: there are fewer GPUs.
    """
    if runs == 1 or painted_elsewhere:
        return [Worker(runs, {})]
    gpus = visible_gpus()
    if runs > len(gpus):
        raise InputError(f"--workers {runs}: each worker needs a GPU of its own, and there are {len(gpus)}")
    return [Worker(1, {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in gpus[:runs]]


def _painters(family: Family, number: int, profile: str, own: dict[str, str]) -> dict[str, str]:
    """Start warm painters, and return the environment of workers whose runs they paint for: the GPUs are theirs.

    Raises:
        StoryboardError: they did not start.
    """
    say("starting Ray and the painters")
    file = (LOGS / "painters.address").absolute()
    file.unlink(missing_ok=True)
    wanted = ["--painters", str(number), "--profile", profile, "--address-file", str(file)]
    command = [sys.executable, "-m", "deployments.local_ray", *wanted]
    family.start("painters", command, own, _log("painters"), alone=True)
    while not file.exists():
        if ended := family.ended():
            raise StoryboardError(f"the {ended} ended: {last_words_of(ended)}")
        time.sleep(0.2)
    return {"STORYBOARD_PAINTERS": file.read_text(encoding="utf-8"), "CUDA_VISIBLE_DEVICES": ""}


def _forks(family: Family, own: dict[str, str], place: Path) -> dict[str, str]:
    """Start the process from which runs are forked, and return the environment of the worker whose runs these are."""
    command = [sys.executable, "-m", "deployments.prefork", "--socket", str(place)]
    family.start("runs", command, own | RUN_ENVIRONMENT | engine.TO_FORK, _log("runs"), alone=True)
    return {engine.ADDRESS: str(place)}


@contextmanager
def _alone_here() -> Iterator[None]:
    """Refuse a second service in this folder, since both would write the same logs.

    Raises:
        InputError: another service is running.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(LOGS / ".lock", timeout=0):
            yield
    except Timeout:
        raise InputError(
            f"a service already runs in this folder, with logs in {LOGS}: end it, or start this one in another folder"
        ) from None


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _wait_until_it_answers(family: Family, port: int) -> None:
    if not answers(f"http://{HOST}:{port}/api", lambda: not family.ended()):
        reason = "ended" if family.ended() else f"did not answer within {TO_START:.0f} s"
        raise StoryboardError(f"the server {reason}: {last_words_of('server')}")


def _greet(port: int) -> None:
    url = f"http://{HOST}:{port}"
    say(f"dashboard: {url}")
    say("in another terminal, in this folder:")
    say(f"  export PREFECT_API_URL={url}/api PATH={Path(sys.executable).parent}:$PATH")
    say(f"  prefect deployment run 'storyboard/steppe' --param story=\"{STORY}\" --watch")
    say("  prefect deployment run 'train-lora/steppe' --param options='{\"max_train_steps\": 200}' --watch")
    say(f"logs: {LOGS}; Ctrl-C ends all of it")


def _log(name: str) -> Path:
    return LOGS / f"{name}.log"


def last_words_of(name: str) -> str:
    """Return the last error in the process's log, the log's path, and a hint if there is one."""
    words = last_words(_log(name).read_text("utf-8", "replace"))
    hints = (hint for sign, hint in HINTS.items() if sign in words)
    return f"{words} (see {_log(name)}){next(hints, '')}"


class Service(BaseModel):
    """The command's options."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    port: int = Field(PORT, ge=1, le=65535)
    """Port of the dashboard."""
    workers: int | None = Field(None, ge=1, le=256)
    """Number of simultaneous runs, each on its own GPU. Unset: 1, which sees all GPUs; with painters 4 for each GPU of
    theirs, on a CPU 2."""
    painters: int = Field(0, ge=0, le=64)
    """Warm painters for all runs, each with a GPU, or the CPU where there is none; workers then need no GPUs."""
    profile: ProfileName = STEPPE.name
    """Profile whose models the painters load at once; others are loaded when they are asked for."""


COMMAND = Command(
    module="deployments.up",
    usage="[--port N] [--workers N] [--painters N] [--profile NAME]",
    description=__doc__.partition("\n")[0],
    forms=(Form(Service, (Group("options", ("port", "workers", "painters", "profile")),)),),
)


def main(arguments: list[str] | None = None) -> None:
    """Run the service; exit with 0 after Ctrl-C, 1 and one line after an error, 2 after a wrong option."""
    given = COMMAND.parse(arguments, Service.model_validate)
    if not hasattr(os, "killpg"):
        stop("make up needs Linux or macOS: on Windows use WSL, or start server and worker as docs/operations.md says")
    ends = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]  # Windows has no SIGHUP
    for number in ends:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, signal.default_int_handler)
    try:
        up(given.port, given.workers, given.painters, given.profile)
    except KeyboardInterrupt:
        say("ended")
    except InputError as error:
        stop(str(error))
    except StoryboardError as error:
        stop(str(error), FAILURE)


if __name__ == "__main__":
    main()
