"""A real PostgreSQL server with a folder and a password of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service import free_port
from waiting import until

PASSWORD = "canary-Jq93-postgres"
INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian puts it, outside of PATH."""
OWNER = "postgres"
"""Whom Debian's package adds: the server refuses to run as root."""


def program(name: str) -> str:
    """Path of one of its programs."""
    found = shutil.which(name) or next((str(path) for path in sorted(INSTALLED.glob(f"*/bin/{name}"))[::-1]), None)
    assert found, "these tests need PostgreSQL: apt-get install postgresql"
    return found


@contextmanager
def running() -> Iterator[str]:
    """The URL of an empty database, as Prefect's server takes it; nothing of it is left afterwards."""
    folder, port = Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
    (folder / "password").write_text(PASSWORD)
    user = OWNER if os.geteuid() == 0 else None
    if user:
        for path in (folder, folder / "password"):
            shutil.chown(path, user)
    home = folder / "data"
    made = [program("initdb"), "--pgdata", str(home), "--username=prefect", "--auth=scram-sha-256"]
    subprocess.run([*made, f"--pwfile={folder / 'password'}"], user=user, check=True, capture_output=True)
    quick = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    with (folder / "server.log").open("wb") as log:
        command = [program("postgres"), "-D", str(home), "-p", str(port), *quick]
        server = subprocess.Popen(command, user=user, stdout=log, stderr=log)
    try:
        until(lambda: _answers(port))
        yield f"postgresql+asyncpg://prefect:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        shutil.rmtree(folder)


def _answers(port: int) -> bool:
    asked = subprocess.run(
        [program("pg_isready"), "-h", "127.0.0.1", "-p", str(port)], check=False, capture_output=True
    )
    return asked.returncode == 0
