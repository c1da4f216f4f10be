"""A whole Ray cluster that goes away in the middle of a frame: the run waits for it, goes on, or says so."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import painters_cluster
import psutil
import pytest
import tiny_models
from service import free_port

from models.profiles import Profile

tiny_world = tiny_models.tiny_world


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def kill_all(head: subprocess.Popen[bytes]) -> None:
    processes = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
    for process in processes:
        process.kill()
    head.wait()
    psutil.wait_procs(processes, 30)


def test_a_frame_fails_in_one_line_if_ray_stays_away_and_is_painted_if_it_comes_back(
    tmp_path: Path, tiny_world: Profile, ends: ExitStack
) -> None:
    port = free_port()
    head, address = painters_cluster.start(tmp_path / "cluster", port)
    ends.callback(painters_cluster.end, head)
    assert address == f"127.0.0.1:{port}"
    impatient = painters_cluster.painting(address, tmp_path / "impatient", ends, patience=5.0, steps=2000)
    patient = painters_cluster.waiting(address, tmp_path / "patient", ends, patience=240.0)
    kill_all(head)
    said, warned = impatient.communicate(timeout=180)
    assert said.startswith(f"PaintersUnreachable: no painter at {address} for 5 s: "), warned
    assert said.count("\n") == 1
    assert warned.count("is lost (") == 1
    again, _ = painters_cluster.start(tmp_path / "again", port)
    ends.callback(painters_cluster.end, again)
    said, warned = patient.communicate(timeout=240)
    assert said == "painted (64, 64)\n", warned
