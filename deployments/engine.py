"""The process of a run as its worker sees it: it stands for one that is forked where all imports are done.

python -m deployments.engine      (the work pool's command under `make up`; see deployments/prefork.py)

It passes SIGTERM on, ends as the run ended, and if it is killed, so is the run. Where nothing forks runs, it becomes
Prefect's own engine.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from typing import NoReturn

ADDRESS = "PREFORK_SOCKET"
"""Variable with the socket of deployments/prefork.py."""
LENGTH = struct.Struct("!I")
TERM = b"T"
"""Passes SIGTERM on."""
OWN = b"own "
"""Before the names of variables for which the run needs a process of its own."""
TO_FORK = {"OPENBLAS_NUM_THREADS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""Environment of the process that forks: a fork has none of the threads that NumPy's library would start, and could not
use a GPU that torch had looked for through CUDA."""


def main() -> None:
    """Ask for a run, wait until it has ended, and end in the same way."""
    connection = _connection()
    if connection is None:
        _become_engine()
    asked = json.dumps({"environment": dict(os.environ), "folder": os.getcwd()}).encode()  # noqa: PTH109  (pathlib takes 10 ms)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: connection.sendall(TERM))
    socket.send_fds(connection, [LENGTH.pack(len(asked))], [0, 1, 2])
    connection.sendall(asked)
    told = b""
    while part := connection.recv(64):
        told += part
    if told.startswith(OWN):
        sys.stderr.write(f"{told.removeprefix(OWN).decode()}: set for this run, which so imports everything itself\n")
        _become_engine()
    _end_with(int(told) if told else 1)


def _become_engine() -> NoReturn:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "prefect.engine"])  # noqa: S606


def _connection() -> socket.socket | None:
    place = os.environ.get(ADDRESS)
    if place is None:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(place)
    except OSError as error:
        sys.stderr.write(f"{place}: {error.strerror}: this run imports everything itself\n")
        return None
    return connection


def _end_with(code: int) -> NoReturn:
    """End with this exit code, or, if it is negative, by this signal."""
    if code < 0:
        if -code != signal.SIGKILL:  # which can't be handled anyway
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
