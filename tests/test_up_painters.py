"""`make up` with warm painters: several runs at once, all painted elsewhere; nothing is left at the end."""

from __future__ import annotations

import secrets
import signal

import pytest
import service as services
import tiny_models
from service import QUICK, STORY, Service
from waiting import until


def completed(service: Service, run: str) -> tuple[str, str]:
    ended = service.until_ended(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]
    page = service.ask(
        "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": ["painters"]}}}
    )
    return str(page[0]["data"]), str(page[0]["description"])


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
        log = service.log("worker-1") + service.log("worker-2")
        assert log.count("painted and scored in") == 3
        assert "painting 1 frame" not in log
        assert service.end(signal.SIGINT) == 0
        until(lambda: not service.processes())
