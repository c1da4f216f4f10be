"""A Ray cluster with one warm painter on the CPU, started once, as `make up` starts it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from service import free_port
from tiny_models import request, setup
from waiting import until

from models.painters.ray_cluster import LOOPBACK, disconnect
from models.painters.ray_painter import RayPainter
from models.profiles import ROOT

PAINT = """
import json, sys
from pathlib import Path
from models.diffusion.requests import PainterSetup, PaintRequest
from models.errors import PaintersUnreachable
from models.painters.painter import FrameOrder, Watch
from models.painters.ray_painter import RayPainter
asked, address, patience = json.load(open(sys.argv[1])), sys.argv[2], float(sys.argv[3])
begun, waits = map(Path, sys.argv[4:])
setup, request = PainterSetup.model_validate(asked["setup"]), PaintRequest.model_validate(asked["request"])
far = RayPainter(address, patience)
order = FrameOrder(setup=setup, request=request, reference=None, weights=far.load(setup).weights)
try:
    print("painted", far.paint(order, Watch(lambda share: begun.touch(), waits.touch)).image.size, flush=True)
except PaintersUnreachable as error:
    print(f"PaintersUnreachable: {error}", flush=True)
"""


def start(folder: Path, port: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """Start a cluster, whose log and address are in the folder; return its first process, and the address."""
    folder.mkdir(exist_ok=True)
    file, environment = folder / "address", dict(os.environ)
    if port:
        environment["RAY_GCS_SERVER_PORT"] = str(port)
    if "RAY_AUTH_TOKEN" not in environment:
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
        os.environ |= token  # for those who ask; Ray reads it once in a process
        environment |= token
    command = [sys.executable, "-m", "deployments.local_ray", "--address-file", str(file)]
    with (folder / "log").open("wb") as log:
        head = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    until(lambda: file.exists() or head.poll() is not None)
    assert file.exists(), (folder / "log").read_text()
    return head, file.read_text()


def end(head: subprocess.Popen[bytes]) -> None:
    """End a cluster; nothing of it is left."""
    if head.poll() is not None:
        return
    children = psutil.Process(head.pid).children(recursive=True)
    head.send_signal(signal.SIGTERM)
    head.wait(60)
    for left in psutil.wait_procs(children, 10)[1]:
        left.kill()


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Yield the address of a cluster."""
    head, address = start(folder)
    try:
        yield address
    finally:
        disconnect()
        end(head)


@contextmanager
def client_server(address: str, folder: Path) -> Iterator[str]:
    """Yield an address for Ray's client, served as `ray start --head` serves it."""
    port = free_port()
    command = [sys.executable, "-m", "ray.util.client.server", f"--address={address}", "--host=127.0.0.1"]
    environment = {**os.environ, **dict([LOOPBACK])}
    with (folder / "client-server.log").open("wb") as log:
        server = subprocess.Popen([*command, f"--port={port}"], env=environment, stdout=log, stderr=log)
    try:
        until(lambda: _listens(port) or server.poll() is not None)
        yield f"ray://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pid_of(painter: RayPainter) -> int:
    """The process of a painter."""
    return int(painter._ask("about", {})[2])


def painting(
    address: str, tmp_path: Path, ends: ExitStack, patience: float = 120.0, steps: int = 200
) -> subprocess.Popen[str]:
    """A process that is painting a frame at this address."""
    return _asking(address, tmp_path, ends, (patience, steps, "begun"))


def waiting(address: str, tmp_path: Path, ends: ExitStack, patience: float) -> subprocess.Popen[str]:
    """A process whose frame, which is painted at once, waits behind another."""
    return _asking(address, tmp_path, ends, (patience, 3, "waits"))


def _asking(address: str, folder: Path, ends: ExitStack, how: tuple[float, int, str]) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    patience, steps, mark = how
    records = {"setup": setup(), "request": request(5, steps=steps)}
    asked, marks = folder / "asked.json", [folder / name for name in ("begun", "waits")]
    asked.write_text(json.dumps({name: record.model_dump(mode="json") for name, record in records.items()}))
    command = [sys.executable, "-c", PAINT, str(asked), address, str(patience), *map(str, marks)]
    pipe = subprocess.PIPE
    process = ends.enter_context(subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True))
    ends.callback(process.kill)
    until(lambda: (folder / mark).exists() or process.poll() is not None)
    assert (folder / mark).exists(), process.communicate()
    return process
