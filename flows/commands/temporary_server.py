"""The server that a run from the terminal brings along where no other is named. It ends with the run, whatever happens.

Its process holds one end of a pipe, whose other end only the run's process holds: when that is gone, also by SIGTERM or
kill -9, the pipe is closed, and the server ends itself. It has a database of its own: one that several processes
write to would be locked at times. Ctrl-C does not reach it, so that the run can write down how it ended.
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
"""Where the databases are, in PREFECT_HOME."""
TO_END = 5.0
"""Seconds that it has to end by itself."""


class TemporaryServer:
    """The process of a server, which may still be starting.

    Args:
        settings: Prefect's, which say where databases belong.
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
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows' way to leave Ctrl-C alone
        )
        atexit.register(self.end)

    @classmethod
    @contextmanager
    def starting(cls, settings: Settings) -> Iterator[Self]:
        """A server that is being started, and is ended at once where something fails meanwhile."""
        server = cls(settings)
        try:
            yield server
        except BaseException:
            server.process.kill()
            server.end()
            raise

    def use(self) -> None:
        """Wait until it answers, and let all of Prefect in this process ask it.

        Raises:
            StoryboardError: it did not start, in its own last words.
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
        """Close its pipe, and wait until it has ended."""
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
    """Leave out where a run is to be viewed: this server has no pages."""
    return not record.getMessage().startswith("View at ")


def _path() -> str:
    """Where the server's process finds this project, whatever folder it is started in."""
    return os.pathsep.join(filter(None, [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")]))
