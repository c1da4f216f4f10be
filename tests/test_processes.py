"""A service's processes end together, and what ends its own descendants is left to do so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deployments.processes import alive
from models.profiles import ROOT

MEMBER = """
import pathlib, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def end(*_):
    pathlib.Path("found").write_text("ended" if child.poll() is not None else "alive")
    child.kill()
    child.wait()
    sys.exit()
signal.signal(signal.SIGTERM, end)
pathlib.Path("child").write_text(str(child.pid))
signal.pause()
"""
SERVICE = """
import os, pathlib, sys, time
from deployments.processes import Family
with Family() as family:
    family.start("member", [sys.executable, "member.py"], os.environ, pathlib.Path("log"), alone=len(sys.argv) > 1)
    while not (pathlib.Path("child").is_file() and pathlib.Path("child").read_text()):
        time.sleep(0.05)
"""
"""A family ends all descendants of its process, so it is not this one."""


@pytest.mark.parametrize(("alone", "found"), [(["alone"], "alive"), ([], "ended")])
def test_a_members_descendants_are_ended_before_it_unless_it_does_that_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: list[str], found: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "member.py").write_text(MEMBER)
    subprocess.run([sys.executable, "-c", SERVICE, *alone], cwd=tmp_path, check=True, timeout=100)
    assert (tmp_path / "found").read_text() == found
    assert not alive([int((tmp_path / "child").read_text())])
