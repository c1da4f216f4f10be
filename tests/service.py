"""The service as people start it, `python -m deployments.up`, in a folder and with a database of its own."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import short_flow
from databases import put_empty_database
from waiting import DEADLINE, until

from models.profiles import ROOT, Profile

STORY = "Aldar Köse outwits the khan"
QUICK = {"profile": "tiny", "frames": 1, "steps": 1, "prompt_threshold": -1, "device": "cpu", "batch_size": 1}
"""Options of a storyboard that is painted at once."""
LONG = {**QUICK, "frames": 24, "steps": 500, "refresh": True}
"""Options of one that is still being painted when the test is over."""
NO_CONTENT = b"-"
DATABASE_URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
PASSWORD = "canary:Kw7pLm-password"
OPENAI_KEY = "sk-canary-Zx81qOpenAI"
AWS_KEY = "canary/Vt44rAws"


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer_to(request: urllib.request.Request) -> bytes | None:
    """The body, or None where the server asks to try again later, as it does while its database is locked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request) as answer:
            return bytes(answer.read()) or NO_CONTENT
    except urllib.error.HTTPError as error:
        with error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            return None


@dataclass(frozen=True)
class Client:
    """What a person or a browser asks of a service."""

    folder: Path
    home: Path
    port: int
    environment: Mapping[str, str]

    def log(self, name: str) -> str:
        """What one of its processes has printed so far."""
        file = self.folder / "outputs" / "service" / f"{name}.log"
        return file.read_text("utf-8") if file.exists() else ""

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`python -m` with these arguments, as a person in another terminal types it."""
        own = {**self.environment, "PREFECT_API_AUTH_STRING": PASSWORD, **environment}
        own["PREFECT_API_URL"] = f"http://127.0.0.1:{self.port}/api"
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, cwd=self.folder, env=own, capture_output=True, text=True, check=False)

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Prefect's own command; its lines are not broken."""
        return self.command("prefect", *arguments, COLUMNS="2000")

    def run(self, deployment: str, *more: str, **parameters: Any) -> subprocess.CompletedProcess[str]:
        """`prefect deployment run` with these parameters."""
        given = [f"--param={name}={json.dumps(value)}" for name, value in parameters.items()]
        return self.prefect("deployment", "run", deployment, *given, *more)

    def ask(self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST") -> Any:
        """The server's answer to a request."""
        password = base64.b64encode(PASSWORD.encode()).decode()
        headers = {"content-type": "application/json", "authorization": f"Basic {password}"}
        data = None if method == "GET" else json.dumps(body or {}).encode()
        url = f"http://127.0.0.1:{self.port}/api/{path}"
        text = until(lambda: answer_to(urllib.request.Request(url, data, headers, method=method)))
        return json.loads(text) if text != NO_CONTENT else None

    def queue(self, deployment: str, **parameters: Any) -> str:
        """The id of a new run, made without waiting for a command's imports."""
        made = self.deployment(deployment)["id"]
        return str(self.ask(f"deployments/{made}/create_flow_run", {"parameters": parameters})["id"])

    def deployment(self, name: str) -> dict[str, Any]:
        """What the server knows of a deployment."""
        return dict(self.ask(f"deployments/name/{name}", method="GET"))

    def deploy_short(self, queue: str) -> str:
        """Name of a deployment of runs that take a moment, in this queue of the pool."""
        shutil.copy(short_flow.__file__, self.folder)
        made = {"flow_id": self.ask("flows/", {"name": "short"})["id"], "name": queue, "path": str(self.folder)}
        where = {"work_pool_name": "gpu", "work_queue_name": queue, "entrypoint": "short_flow.py:short"}
        return f"short/{self.ask('deployments/', {**made, **where})['name']}"

    def flow_run(self, run: str) -> dict[str, Any]:
        """What the server knows of a run."""
        return dict(self.ask(f"flow_runs/{run}", method="GET"))

    def count(self) -> int:
        """How many runs there are."""
        return int(self.ask("flow_runs/count"))

    def until_ended(self, run: str) -> dict[str, Any]:
        """What the server knows of a run that has ended."""
        ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        return until(lambda: found if (found := self.flow_run(run))["state_type"] in ended else None)

    def processes(self) -> list[str]:
        """Commands of all processes that have its database in their environment, with their numbers."""
        found: list[str] = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment = (entry / "environ").read_bytes()
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if f"PREFECT_HOME={self.home}".encode() in environment.split(b"\0"):
                found.append(f"{entry.name} {' '.join(words)}")
        return found

    def engines(self, run: str) -> list[int]:
        """The processes that do the work of this run, or, if it was forked, stand for the one that does."""
        engines = [line for line in self.processes() if "prefect.engine" in line or "deployments.engine" in line]
        numbers = [int(line.partition(" ")[0]) for line in engines]
        return [number for number in numbers if _works_for(number, run)]

    def kill_engine(self, run: str) -> None:
        """kill -9 the process that does the work of this run."""
        [engine] = self.engines(run)
        os.kill(engine, signal.SIGKILL)

    def reported(self, worker: str) -> int:
        """How often a worker has told of a process that was killed: twice of each.

        Its runner reports the crash, and then the worker itself, which would crash a retry that begins before that.
        """
        return self.log(worker).count("Check whether the flow run exceeded its memory")

    def retry(self, run: str) -> None:
        """As the dashboard's Retry does; waits until the run is taken up."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        self.ask(f"flow_runs/{run}/set_state", {"state": state, "force": True})
        until(lambda: self.flow_run(run)["state_type"] != "SCHEDULED")

    def kill_all(self) -> None:
        """kill -9 everything that is left."""
        for line in self.processes():
            with suppress(ProcessLookupError):
                os.kill(int(line.partition(" ")[0]), signal.SIGKILL)


def _works_for(pid: int, run: str) -> bool:
    try:
        return run.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


@dataclass(frozen=True)
class Service(Client):
    """A service that `make up` started."""

    process: subprocess.Popen[bytes]

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return (self.folder / "said.txt").read_text("utf-8")

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Its exit code after this signal."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


def run_id(created: str) -> str:
    """The run's id, from what `prefect deployment run` printed."""
    found = re.search(r"UUID: ([0-9a-f-]{36})", created)
    assert found, created
    return found[1]


def project(folder: Path, world: Profile, **environment: str) -> Client:
    """A folder to work in, and the environment of a service there, with the profile "tiny"."""
    home, port, work = folder / "prefect", free_port(), folder / "project"
    shutil.copytree(ROOT / "configs", work / "configs")
    home.mkdir()
    if DATABASE_URL not in environment:
        put_empty_database(home)
    profiles = folder / "profiles.json"
    profiles.write_text(json.dumps({"tiny": {"like": "steppe", **world.model_dump(mode="json", exclude={"name"})}}))
    own = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
        "STORYBOARD_PROFILES_FILE": str(profiles),
        "NO_PROXY": "127.0.0.1",
        **environment,
    }
    return Client(work, home, port, own)


@contextmanager
def started(folder: Path, world: Profile, *arguments: str, **environment: str) -> Iterator[Service]:
    """A service that is up, started with these arguments; nothing of it is left afterwards."""
    own = project(folder, world, **environment)
    command = [sys.executable, "-m", "deployments.up", "--port", str(own.port), *arguments]
    with (own.folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=own.folder, env=own.environment, stdout=said, stderr=said)
    service = Service(**vars(own), process=process)
    try:
        until(lambda: "Ctrl-C ends" in service.said or process.poll() is not None)
        assert process.poll() is None, f"{service.said}\n{service.log('server')}\n{service.log('bootstrap')}"
        yield service
    finally:
        if process.poll() is None:
            service.end()
        service.kill_all()
