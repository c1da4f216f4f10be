"""The benchmarks' harness, small and on a CPU: that it runs, compares like with like, and fails when a part fails.

Seconds mean nothing here, and none are tested.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.profiles import ROOT

Figures = dict[str, dict[str, Any]]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of models of SDXL's structure and next to no size."""
    folder = tmp_path_factory.mktemp("small")
    ran = run("full_size", str(folder), "--small", "--device", "cpu")
    assert ran.returncode == 0, ran.stderr
    return str(folder)


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., Figures]:
    """Runs a benchmark, and returns the last of each of its figures."""

    def measure(module: str, *arguments: str) -> Figures:
        out = tmp_path / "figures.jsonl"
        ran = run(module, "--device", "cpu", "--out", str(out), *arguments)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return {figure["part"]: figure for figure in map(json.loads, out.read_text().splitlines())}

    return measure


def test_the_storyboards_of_both_agree(small: str, measured: Callable[..., Figures]) -> None:
    figures = measured("storyboard", "--models", small, "--steps", "5")
    assert {"ours_s", "stock_s", "times_stock"} <= figures["storyboard"].keys()
    assert max(figures["difference"]["largest_difference"]) <= 1


def test_fast_paints_other_pictures(small: str, measured: Callable[..., Figures]) -> None:
    figures = measured("storyboard", "--models", small, "--steps", "6", "--speed", "fast")
    assert max(figures["difference"]["largest_difference"]) > 1


def test_the_trainings_of_both_are_measured_and_the_losses_of_both_ways_agree(
    small: str, measured: Callable[..., Figures]
) -> None:
    figures = measured(
        "gpu_training", "--models", small, "--steps", "5", "--warm-up", "1", "--only", "document", "plain"
    )
    assert figures["training step: document, fp16"]["times_stock"] > 0
    assert figures["losses, fast and plain"]["largest_relative_difference"] == 0  # on a CPU there is one way


def test_every_way_to_a_first_picture_is_measured(small: str, measured: Callable[..., Figures]) -> None:
    figures = measured("cold_start", "--models", small, "--steps", "2", "--only", "script", "command")
    assert {"script_s", "command_s", "command_times_script"} <= figures["cold start"].keys()


def test_a_start_that_paints_nothing_is_told_and_ends_with_1(small: str) -> None:
    ran = run("cold_start", "--models", small, "--device", "cpu", "--steps=-1", "--only", "command")
    assert ran.returncode == 1
    assert "steps" in ran.stdout


def test_a_part_that_fails_is_told_and_ends_with_1(tmp_path: Path) -> None:
    ran = run("storyboard", "--models", str(tmp_path / "nothing"), "--device", "cpu")
    assert ran.returncode != 0
    assert "nothing" in ran.stderr
