"""The temporary server of a run from the terminal, used if no other is named. It ends with the run in any case.

Its process reads a pipe that only the run's process holds open. When that process ends, even by kill -9, the pipe
closes and the server ends itself. It has its own database, since one shared by several processes would be locked at
times. Ctrl-C does not reach it, so that the run can still store its final state.
"""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self

from prefect.context import refresh_global_settings_context
from prefect.settings import Settings

from flows.commands.server_answers import answers
from flows.terminal import last_words
from models.errors import StoryboardError

FOLDER = "temporary"
"""Folder of the databases in PREFECT_HOME."""
TO_END = 5.0
"""Seconds for a regular end before it is killed."""


class TemporaryServer:
    """The process of a server, which may still be starting.

    Args:
        settings: Prefect's settings, for its home folder and password.
    """

    def __init__(self, settings: Settings) -> None:
        folder = settings.home / FOLDER
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (open as long as the process)
        self.password = settings.server.api.auth_string
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "flows.commands.server_process", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=os.environ | {"PYTHONPATH": _path()},
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # keeps Ctrl-C away on Windows
        )
        atexit.register(self.end)

    @classmethod
    @contextmanager
    def starting(cls, settings: Settings) -> Iterator[Self]:
        """Start a server for the block; an error in the block ends it at once."""
        server = cls(settings)
        try:
            yield server
        except BaseException:
            server.process.kill()
            server.end()
            raise

    def use(self) -> None:
        """Wait until the server answers, and make it Prefect's server in this process.

        Raises:
            StoryboardError: it did not start; the message quotes its log.
        """
        assert self.process.stdout is not None
        port = self.process.stdout.readline().strip().decode()
        url = f"http://127.0.0.1:{port}/api"
        if not (port and answers(url, lambda: self.process.poll() is None)):
            raise StoryboardError(f"the temporary Prefect server did not start: {self._last_words()}")
        os.environ["PREFECT_API_URL"] = url
        if self.password is not None:
            os.environ["PREFECT_API_AUTH_STRING"] = self.password.get_secret_value()
        refresh_global_settings_context()
        logging.getLogger("prefect.flow_runs").addFilter(_names_no_page)

    def end(self) -> None:
        """Close the server's pipes, and wait until it has ended."""
        atexit.unregister(self.end)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self.process.wait(TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def _last_words(self) -> str:
        self.process.kill()
        self.process.wait()
        self.log.seek(0)
        return last_words(self.log.read().decode("utf-8", "replace"))


def _names_no_page(record: logging.LogRecord) -> bool:
    """Drop the "View at" line, because this server has no pages."""
    return not record.getMessage().startswith("View at ")


def _path() -> str:
    """Return a PYTHONPATH with this project, so that the server's process can start in any folder."""
    return os.pathsep.join(filter(None, [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")]))
