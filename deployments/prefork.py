"""Forks the processes of runs from one that has imported everything, because imports take most of a start.

python -m deployments.prefork [--socket FILE]

    worker ── deployments.engine ··· socket ··· deployments.prefork
                                                 └─ keeper ── the run: prefect.engine

A worker starts `deployments.engine` for a run, as which it can be watched and ended; that one asks here. The keeper
tells it how the run ended, and ends the run if it is gone. Runs go on if this process ends.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from prefect.context import refresh_global_settings_context
from prefect.logging.configuration import setup_logging
from pydantic import BaseModel, ConfigDict, Field

from deployments.engine import ADDRESS, LENGTH, OWN, TERM, TO_FORK
from flows.commands.collecting import importing, run_program
from flows.commands.command import Command
from flows.commands.starting import import_what_paints
from flows.logs import prepare_logs
from flows.terminal import say, stop
from models.forms.form import Form, Group
from models.painters.parcels import code_version
from models.painters.ray_cluster import import_ray
from models.settings import EMBEDDED, painters_here

MODULES = (
    "flows.calibrate",
    "flows.edit_board",
    "flows.export",
    "flows.redo_frame",
    "flows.screenplay",
    "flows.storybook",
    "flows.storyboard",
    "flows.training",
    "models.painters.ray_painter",
    "prefect.flow_engine",
)
"""What every run imports."""
READ_WHEN_USED = ("STORYBOARD_", "PREFECT_", "OPENAI_", "AWS_", "CUDA_VISIBLE_DEVICES", ADDRESS, *TO_FORK)
"""Beginnings of variables in which a run may differ. Others may be read by libraries when they are imported."""
WAITING = 64
"""Runs that may wait at the socket."""


class Fork(BaseModel):
    """The command's options."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    socket: str = Field("outputs/service/runs", min_length=1)
    """File of the socket at which runs are asked for; only this user can."""


COMMAND = Command(
    module="deployments.prefork",
    usage="[--socket FILE]",
    description=__doc__.partition("\n")[0],
    forms=(Form(Fork, (Group("options", ("socket",)),)),),
)


def asked_for_run(place: Path) -> dict[str, Any]:
    """Fork a keeper for each run that is asked for, and return in each run's own process what was asked.

    Raises:
        OSError: the socket can't be made.
    """
    listening = socket.socket(socket.AF_UNIX)
    place.unlink(missing_ok=True)
    listening.bind(str(place))
    place.chmod(0o600)
    listening.listen(WAITING)  # before the imports: the first runs wait for them here
    with importing():
        for module in MODULES:
            importlib.import_module(module)
        if (painters := painters_here()["painters"]) == EMBEDDED:
            import_what_paints()
        else:
            import_ray(painters)
    code_version()  # of the code that was imported now, not of files that change later
    if threading.active_count() > 1:
        stop(f"an import has started threads, which no fork would have: {threading.enumerate()}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are not waited for
    while True:
        with listening.accept()[0] as connection:
            try:
                keeper = os.fork()
            except OSError as error:  # no memory, or too many processes; the other side ends
                say(f"a run can't be forked: {error.strerror}")
                continue
            if keeper == 0:
                listening.close()
                return _kept(connection)


def _kept(connection: socket.socket) -> dict[str, Any]:
    """Fork the run. In its process, return what was asked; in this one, wait until it has ended, and end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, *_ = socket.recv_fds(connection, LENGTH.size, 3)
    with connection.makefile("rb") as reader:
        asked: dict[str, Any] = json.loads(reader.read(*LENGTH.unpack(length)))
    if unlike := _differing(asked["environment"]):
        connection.sendall(OWN + ", ".join(unlike).encode())
        os._exit(0)
    run = os.fork()
    if run == 0:
        os.setsid()
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return asked
    threading.Thread(target=_pass_signals, args=(connection, run), daemon=True).start()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _, status = os.waitpid(run, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _first_environment() -> dict[str, str]:
    """Return the environment with which this process was started, before imports changed it."""
    lines = os.fsdecode(Path("/proc/self/environ").read_bytes()).split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _differing(environment: dict[str, str]) -> list[str]:
    first = _first_environment()
    different = sorted(name for name in {*first, *environment} if environment.get(name) != first.get(name))
    return [name for name in different if not name.startswith(READ_WHEN_USED)]


def _pass_signals(connection: socket.socket, run: int) -> None:
    """Send the run's group SIGTERM when the other side asks, and SIGKILL when it is gone."""
    while True:
        told = connection.recv(1)
        os.killpg(run, signal.SIGTERM if told == TERM else signal.SIGKILL)
        if not told:
            return


def become_run(environment: dict[str, str], folder: str) -> None:
    """Take the environment and folder of a run, with all that was read from them during the imports.

    What imports have set stays, unless the run sets it.
    """
    first, imported = _first_environment(), dict(os.environ)
    kept = {name: imported[name] for name in imported if environment.get(name) == first.get(name) != imported[name]}
    os.environ.clear()
    os.environ.update({**environment, **kept})
    os.chdir(folder)
    refresh_global_settings_context()
    setup_logging()
    prepare_logs()


def main(arguments: list[str] | None = None) -> None:
    """Fork runs until a signal; in a run's process, be Prefect's engine."""
    place = Path(COMMAND.parse(arguments, Fork.model_validate).socket)
    become_run(**asked_for_run(place))
    sys.argv = ["prefect.engine"]
    sys.modules.pop("prefect.engine", None)  # an import left it there, and it is to run as the main module
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run_program(main)
