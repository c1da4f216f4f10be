"""The main job as a newcomer starts it: a sentence, the offline profile, its own trained weights, no network."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import WeightsInvalid
from models.profiles import ROOT, STEPPE
from models.vision.likeness import read_calibration
from steppe.classifier import load_classifier, verdicts

STORY = "Aldar Köse tricks a greedy merchant in the bazaar"
GOLDEN = ROOT / "tests" / "golden"
"""What this story and seed 42 paint with the shipped weights. The bytes differ
between processors."""
SAME = 35.0
"""Least PSNR in dB of a frame and its golden one. Another seed gives about 10."""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storyboard of two frames, made once."""
    return run("--frames", "2", "--output-dir", str(tmp_path_factory.mktemp("boards")), "--", STORY)


def test_a_sentence_becomes_a_storyboard(board: Path) -> None:
    report = report_of(board)
    assert [frame["accepted"] for frame in report["frames"]] == [True, True]
    for number in (1, 2):
        with Image.open(board / f"frame_{number:03}.png") as picture:
            assert picture.size == (256, 256)
            colours = picture.convert("RGB").resize((32, 32)).getcolors(1024) or []
            assert len(colours) > 100  # a picture, not a grey field
    assert [frame["seed"] for frame in report["frames"]] == [42, 2042]
    assert min(psnr(ours, golden) for ours, golden in zip(pictures_of(board), pictures_of(GOLDEN), strict=True)) > SAME
    seen = verdicts(load_classifier(ROOT / "weights" / "steppe" / "classifier"), torch.from_numpy(pictures_of(board)))
    assert seen[0]["hero_hat"] == "yes"  # Aldar's kalpak, which no other person wears


def test_only_what_was_edited_is_painted(board: Path) -> None:
    file = board / "scene_breakdown.json"
    parts = json.loads(file.read_text(encoding="utf-8"))
    parts["scenes"][1]["panel"] |= {"dialogue": [{"speaker": "the merchant", "text": "No."}], "angle": "low"}
    file.write_text(json.dumps(parts), encoding="utf-8")
    spoken = run("--from", str(board))
    assert [frame["painted"] for frame in report_of(spoken)["frames"]] == [0, 0]
    assert np.array_equal(pictures_of(spoken), pictures_of(board))
    parts["scenes"][1]["action"] = "is sleeping"
    file.write_text(json.dumps(parts), encoding="utf-8")
    acted = run("--from", str(board))
    frames = report_of(acted)["frames"]
    assert [frame["painted"] > 0 for frame in frames] == [False, True]
    assert np.array_equal(pictures_of(acted)[0], pictures_of(board)[0])
    assert "is sleeping" in frames[1]["prompt"]


def test_aldars_calibration_is_of_the_clip_that_ships() -> None:
    assert STEPPE.adapter is not None
    found = read_calibration(Path(STEPPE.adapter) / "hero.json", STEPPE)
    assert (found.trigger, found.bounds.calibrated) == (STEPPE.trigger, True)


def run(*arguments: str) -> Path:
    """Run the command as a person does, and return the board."""
    command = [sys.executable, "-m", "flows.storyboard", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return Path(done.stdout.splitlines()[-1])


def report_of(board: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((board / "report.json").read_text(encoding="utf-8"))
    return report


def pictures_of(board: Path) -> np.ndarray:
    """Its frames, uint8 [frames, 256, 256, 3]."""
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in sorted(board.glob("frame_*.*"))])


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; infinite where they are equal."""
    error = float(np.mean((one.astype(float) - other.astype(float)) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def test_a_calibration_of_earlier_boxes_is_refused(tmp_path: Path) -> None:
    shipped = read_calibration(Path(str(STEPPE.adapter)) / "hero.json", STEPPE)
    file = tmp_path / "hero.json"
    file.write_text(shipped.model_copy(update={"format": shipped.format - 1}).model_dump_json())
    again = r"hero\.json: no calibration of this version; make it again: python -m flows\.calibrate"
    with pytest.raises(WeightsInvalid, match=again):
        read_calibration(file, STEPPE)
