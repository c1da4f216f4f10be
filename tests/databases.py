"""Prefect's empty database, made once for all servers of a test session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

SHARED = "TESTS_SHARED_FOLDER"
"""The environment variable with the folder that all processes of a session share; conftest.py makes it."""
DATABASE, EMPTY = "prefect.db", "empty.db"


def put_empty_database(home: Path) -> None:
    """Put a database with all tables and no rows into the home of a Prefect server.

    A server that finds none makes the same, by a hundred migrations that take 5 s of a processor.
    """
    shared = Path(os.environ[SHARED])
    with FileLock(shared / "database.lock"):
        if not (shared / EMPTY).is_file():
            made = shared / "empty"
            command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
            subprocess.run(command, env=os.environ | {"PREFECT_HOME": str(made)}, check=True, capture_output=True)
            (made / DATABASE).rename(shared / EMPTY)
    shutil.copyfile(shared / EMPTY, home / DATABASE)
