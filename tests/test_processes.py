"""A service's processes end together, and what ends its own descendants is left to do so."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from waiting import until

from deployments.processes import Family, alive

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


@pytest.mark.parametrize(("alone", "found"), [(True, "alive"), (False, "ended")])
def test_a_members_descendants_are_ended_before_it_unless_it_does_that_itself(
    tmp_path: Path, alone: bool, found: str
) -> None:
    with Family() as family:
        family.start("member", [sys.executable, "-c", MEMBER], os.environ, tmp_path / "log", alone=alone)
        until(lambda: (tmp_path / "child").is_file() and (tmp_path / "child").read_text())
        child = int((tmp_path / "child").read_text())
        assert alive([child])
    assert (tmp_path / "found").read_text() == found
    assert not alive([child])
