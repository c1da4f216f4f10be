"""Ctrl-C in a terminal reaches the run and its temporary server alike; the run ends, and says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from models.profiles import ROOT

STORY = "Aldar Köse rides home on a camel"


def test_ctrl_c_ends_a_storyboard_and_lets_it_be_written_down(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "flows.storyboard", "--output-dir", str(tmp_path), "--", STORY],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a process group of its own, as a terminal gives it
    )
    said: list[str] = []
    with run:
        for line in run.stdout or ():
            said.append(line)
            if "frame 1" in line and "accepted" in line:
                os.killpg(run.pid, signal.SIGINT)
    text = "".join(said)
    assert run.returncode == 130, text
    assert "error: interrupted" in text
    assert "Traceback" not in text
    assert "Error logging to API" not in text
