"""Runs that are forked: they end as their process's stand-in does, and the other way round."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from waiting import until

from deployments.engine import ADDRESS, TO_FORK
from models.profiles import ROOT

RUN = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Prefork:
    """A process that forks runs, whose server takes connections and never answers."""

    process: psutil.Process
    environment: dict[str, str]

    def ask(self, run: str = RUN, **more: str) -> subprocess.Popen[str]:
        """Start what stands for a run."""
        own = {**self.environment, "PREFECT__FLOW_RUN_ID": run, **more}
        command = [sys.executable, "-m", "deployments.engine"]
        return subprocess.Popen(command, cwd=ROOT, env=own, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self) -> psutil.Process:
        """The process of the run that was forked."""
        found = until(lambda: [each for keeper in self.process.children() for each in keeper.children()])
        return until(lambda: found[0] if os.getsid(found[0].pid) == found[0].pid else None)


@pytest.fixture(scope="module")
def prefork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefork]:
    folder = tmp_path_factory.mktemp("prefork")
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        environment = {
            **os.environ,
            "PREFECT_HOME": str(folder),
            "PREFECT_API_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/api",
            "STORYBOARD_PAINTERS": "127.0.0.1:1",  # so that torch is not imported
            ADDRESS: str(folder / "runs"),
        }
        command = [sys.executable, "-m", "deployments.prefork", "--socket", environment[ADDRESS]]
        with subprocess.Popen(command, cwd=ROOT, env=environment | TO_FORK) as process:
            until(lambda: Path(environment[ADDRESS]).exists())
            yield Prefork(psutil.Process(process.pid), environment)
            process.terminate()


def test_a_run_ends_with_its_own_code_and_prints_where_its_stand_in_does(prefork: Prefork) -> None:
    said = (asked := prefork.ask("no number")).communicate()[1]
    assert asked.returncode == 1
    assert "Invalid flow run id" in said
    assert "imports everything itself" not in said


def test_sigterm_reaches_the_run_once_and_both_end_by_it(prefork: Prefork) -> None:
    asked = prefork.ask()
    run = prefork.run()
    asked.terminate()
    asked.communicate()
    assert asked.returncode == -signal.SIGTERM
    assert not run.is_running()


def test_a_run_that_is_killed_ends_its_stand_in_in_the_same_way(prefork: Prefork) -> None:
    asked = prefork.ask()
    prefork.run().kill()
    asked.communicate()
    assert asked.returncode == -signal.SIGKILL


def test_a_stand_in_that_is_killed_takes_its_run_along(prefork: Prefork) -> None:
    asked = prefork.ask()
    run = prefork.run()
    asked.kill()
    asked.communicate()
    until(lambda: not run.is_running())


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"HF_HOME": "/elsewhere"}, "HF_HOME: set for this run, which so imports everything itself"),
        ({ADDRESS: "/nowhere"}, "/nowhere: No such file or directory: this run imports everything itself"),
    ],
)
def test_a_run_that_can_not_be_forked_gets_a_process_of_its_own(
    prefork: Prefork, more: dict[str, str], why: str
) -> None:
    said = (asked := prefork.ask("no number", **more)).communicate()[1]
    assert asked.returncode == 1
    assert why in said
    assert "Invalid flow run id" in said


TWO_FORKS = """
import os
from models.painters.ray_cluster import import_ray
ray = import_ray("127.0.0.1:0")
for _ in range(2):
    if not (child := os.fork()):
        print(ray.ObjectID.from_random().hex(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_forked_runs_take_different_ids_in_ray() -> None:
    command = [sys.executable, "-W", "ignore", "-c", TWO_FORKS]
    one, other = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert one != other
