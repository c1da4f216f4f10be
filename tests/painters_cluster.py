"""A Ray cluster with one warm painter on the CPU, started once, as `make up` starts it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from waiting import until

from models.painters.ray_cluster import disconnect
from models.painters.ray_painter import RayPainter
from models.profiles import ROOT


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Yield the address of the cluster, whose log and address are in the folder."""
    file = folder / "address"
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    command = [sys.executable, "-m", "deployments.local_ray", "--address-file", str(file)]
    with (folder / "log").open("wb") as log:
        head = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    try:
        until(lambda: file.exists() or head.poll() is not None)
        assert file.exists(), (folder / "log").read_text()
        yield file.read_text()
    finally:
        disconnect()
        children = psutil.Process(head.pid).children(recursive=True)
        head.send_signal(signal.SIGTERM)
        head.wait(30)
        for left in psutil.wait_procs(children, 10)[1]:
            left.kill()


def pid_of(painter: RayPainter) -> int:
    """The process of a painter."""
    return int(painter._ask("about", {})[2])
