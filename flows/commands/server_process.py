"""The process of a temporary server: Prefect's API on a port of this machine, until its standard input is closed.

python -m flows.commands.server_process FOLDER   (FOLDER keeps the databases; the port is the only line on stdout)
"""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
import threading
import time
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from filelock import FileLock, Timeout

from flows.commands.collecting import importing
from flows.terminal import FAILURE, stop
from models.secrets.keys import learn_environment
from models.secrets.redaction import install

if TYPE_CHECKING:
    import uvicorn

OWN = {
    # Prefect itself gives these to a temporary server.
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    # It has no automations that events could trigger, and no page that shows events.
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
}
"""Settings of a temporary server."""
TO_END = 3.0
"""Seconds for a regular end after standard input is closed."""


def main(folder: Path) -> None:
    """Serve from a database that no other process uses."""
    learn_environment()
    install()
    guard = Guard()
    folder.mkdir(parents=True, exist_ok=True)
    database, lock = take_database(folder)
    os.environ |= {**OWN, "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}"}
    os.environ.pop("PREFECT_API_URL", None)
    with socket.socket() as listener, lock:
        listener.bind(("127.0.0.1", 0))
        os.write(1, f"{listener.getsockname()[1]}\n".encode())
        _serve(listener, guard)
        os._exit(0)  # frees the lock too; without this, Python first takes its modules apart, for a second


def _serve(listener: socket.socket, guard: Guard) -> None:
    with importing():  # after the settings are in the environment
        import uvicorn  # noqa: PLC0415
        from prefect.server.api.server import create_app  # noqa: PLC0415

    server = uvicorn.Server(uvicorn.Config(create_app, factory=True, log_level="error", lifespan="on"))
    guard.watch(server)
    threading.Thread(target=ask_first, args=(server, listener.getsockname()[1]), daemon=True).start()
    server.run(sockets=[listener])


def ask_first(server: uvicorn.Server, port: int) -> None:
    """Ask the server for something as soon as it answers. Its first answer takes a quarter of a second, and the run's
    process is still importing then.
    """
    while not server.started:
        time.sleep(0.05)
    with suppress(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/api/admin/version", trust_env=False)


class Guard:
    """Ends this process when standard input is closed, whatever the process is doing."""

    def __init__(self) -> None:
        self.server: uvicorn.Server | None = None
        threading.Thread(target=self._wait, daemon=True).start()

    def watch(self, server: uvicorn.Server) -> None:
        """Let this server end regularly first."""
        self.server = server

    def _wait(self) -> None:
        while os.read(0, 1):
            pass
        if self.server is not None:
            self.server.should_exit = True
            time.sleep(TO_END)
        os._exit(0)


def take_database(folder: Path) -> tuple[Path, FileLock]:
    """Return the first unused database of this Prefect release, and its lock.

    Each release has its own, because it can't read a later release's. Databases are kept, since creating one takes
    seconds.
    """
    number = 0
    while True:
        number += 1
        database = folder / f"{version('prefect')}-{number}.db"
        lock = FileLock(f"{database}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _require_database(database)
        return database, lock


def _require_database(file: Path) -> None:
    try:
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        stop(f"{file} is not a usable database ({error}): remove it, and run again", FAILURE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
