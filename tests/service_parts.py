"""A server and workers, each a process of its own that a test may kill and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service import PASSWORD, Client, answer_to, project
from waiting import until

from deployments import up
from deployments.pool import POOL
from models.profiles import Profile


@dataclass(frozen=True)
class Parts(Client):
    """A server and workers that were started one by one."""

    members: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *arguments: str) -> None:
        """Start `prefect` with these arguments as the part of that name."""
        log = self.folder / "outputs" / "service" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "prefect", *arguments]
        with log.open("ab") as said:
            self.members[name] = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=said, stderr=said, start_new_session=True
            )

    def start_server(self) -> None:
        """Start the server, and wait until it answers."""
        self.start("server", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        until(self.answers)

    def start_workers(self, *names: str) -> None:
        """Start workers, and wait until the server has heard of all of them."""
        for name in names:
            self.start(name, "worker", "start", "--pool", POOL, "--limit", "1", "--name", name)
        until(lambda: {*names} <= {worker["name"] for worker in self.ask(f"work_pools/{POOL}/workers/filter")})

    def kill(self, *names: str) -> None:
        """kill -9 these parts, with what they have started in their own session: a worker's run is not among that."""
        for name in names:
            os.killpg(self.members[name].pid, signal.SIGKILL)
            self.members.pop(name).wait()

    def worker_of(self, run: str) -> str:
        """The worker that started this run's process."""
        [engine] = until(lambda: self.engines(run))
        parent = int(Path(f"/proc/{engine}/stat").read_text().rpartition(")")[2].split()[1])
        [name] = [name for name, member in list(self.members.items()) if member.pid == parent]
        return name

    def answers(self) -> bool:
        """Whether the server does."""
        assert self.members["server"].poll() is None, self.log("server")
        try:
            return answer_to(urllib.request.Request(f"http://127.0.0.1:{self.port}/api/health")) is not None
        except (urllib.error.URLError, ConnectionError):
            return False


@contextmanager
def in_parts(folder: Path, world: Profile, *workers: str, **environment: str) -> Iterator[Parts]:
    """A server that was made ready, and workers of these names; nothing of it is left afterwards."""
    own = project(folder, world, **environment)
    at = up.environment(own.port)
    service = Parts(own.folder, own.home, own.port, {**at, **own.environment, "PREFECT_API_AUTH_STRING": PASSWORD})
    try:
        service.start_server()
        made = service.command("deployments.bootstrap", "--slots", str(len(workers)))
        assert made.returncode == 0, made.stderr
        service.start_workers(*workers)
        yield service
    finally:
        service.kill_all()
        for member in service.members.values():
            member.wait()
