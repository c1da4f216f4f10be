"""`make up` with warm painters: runs are forked, and all painted elsewhere; nothing is left at the end."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable

import pytest
import service as services
import tiny_models
from service import LONG, QUICK, STORY, Service
from waiting import until


def completed(service: Service, run: str) -> tuple[str, str]:
    ended = service.until_ended(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]
    page = service.ask(
        "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": ["painters"]}}}
    )
    return str(page[0]["data"]), str(page[0]["description"])


def numbers(service: Service, module: str) -> list[int]:
    """The processes that were started as this module."""
    return [int(line.partition(" ")[0]) for line in service.processes() if module in line]


def ended_while_it_paints(service: Service, end: Callable[[str], object]) -> str:
    """How a run ends that is ended so; nothing of it is left."""
    until(lambda: len(numbers(service, "deployments.prefork")) == 1)
    run = service.queue("storyboard/steppe", story=f"{STORY} {end.__qualname__}", options=LONG)
    until(lambda: service.flow_run(run)["state_type"] == "RUNNING")
    assert len(numbers(service, "deployments.prefork")) == 3  # what forks, the run's keeper, the run
    end(run)
    state = str(service.until_ended(run)["state_type"])
    until(lambda: len(numbers(service, "deployments.prefork")) == 1 and not numbers(service, "deployments.engine"))
    return state


def test_runs_share_a_warm_painter(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, world = tmp_path_factory.mktemp("painters-up"), tiny_models.made_once(tmp_path_factory)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    with services.started(folder, world, "--painters", "1", "--workers", "2", **token) as service:
        runs = [service.queue("storyboard/steppe", story=f"{STORY} {number}", options=QUICK) for number in range(2)]
        for run in runs:
            data, description = completed(service, run)
            assert all(name in data for name in ("frames before it", "seconds waiting", "seconds painting"))
            assert description.startswith("1 warm painter. Frames waited ")
        again = service.queue("redo-frame/steppe", board=runs[0], frame=1)
        assert "seconds painting" in completed(service, again)[0]
        log = service.log("worker-1")
        assert log.count("painted and scored in") == 3
        assert "painting 1 frame" not in log
        assert "imports everything itself" not in log

        def cancel(run: str) -> None:
            service.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

        def kill(_: str) -> None:
            [stands_for_it] = numbers(service, "deployments.engine")
            os.kill(stands_for_it, signal.SIGKILL)

        assert ended_while_it_paints(service, cancel) == "CANCELLED"
        assert ended_while_it_paints(service, kill) == "CRASHED"
        assert service.end(signal.SIGINT) == 0
        until(lambda: not service.processes())
