"""Whole storyboards by warm painters: the embedded run's bytes, and a run that imports nothing that paints."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from transformers import CLIPTokenizer

from models.board.report import Report
from models.errors import ChecksFailed
from models.language.tokens import clip_counter
from models.preflight.checks import require
from models.profiles import ROOT
from models.secrets.keys import Keys
from models.settings import StoryboardOptions, explain

HEAVY = ("torch", "diffusers", "transformers")
RUN = """
import atexit, json, sys
def tell():
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    with open(sys.argv[1], "w") as file:
        json.dump([sorted(set(sys.argv[2].split()) & set(sys.modules)), peak], file)
atexit.register(tell)
from flows.commands.storyboard import main
main(sys.argv[3:])
"""


def tell(output: Path, *options: str) -> tuple[Report, list[bytes], list[Any], str]:
    """Run the command in its own process; return the report, the frames' files, what was imported, and the log."""
    command = [sys.executable, "-c", RUN, str(output.with_suffix(".json")), " ".join(HEAVY)]
    command += ["Aldar rides home", "--frames=2", "--steps=4", "--attempts=1", f"--output-dir={output}", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    board = Path(ended.stdout.splitlines()[-1])
    report = Report.model_validate_json((board / "report.json").read_bytes())
    frames = [(board / frame.file).read_bytes() for frame in report.frames]
    return report, frames, json.loads(output.with_suffix(".json").read_text()), ended.stderr


def test_a_storyboard_by_painters_has_the_embedded_ones_bytes_and_imports_no_torch(
    address: str, tmp_path: Path
) -> None:
    embedded, own, imported, _ = tell(tmp_path / "embedded")
    assert imported[0] == sorted(HEAVY), "the check below would find them"
    report, frames, (heavy, mebibytes), log = tell(tmp_path / "painters", f"--painters={address}")
    assert [hashlib.sha256(frame).hexdigest() for frame in frames] == [
        hashlib.sha256(frame).hexdigest() for frame in own
    ]
    assert [frame.candidates[0].scores for frame in report.frames] == [
        frame.candidates[0].scores for frame in embedded.frames
    ]
    assert report.weights == embedded.weights
    assert report.device == "cpu"
    assert heavy == []
    assert mebibytes < 300
    assert "waited" in log
    assert "painted and scored in" in log


def test_a_device_that_the_painters_do_not_have_is_a_problem_before_any_work(address: str) -> None:
    options = StoryboardOptions(painters=address, device="cuda")
    with pytest.raises(ChecksFailed, match=rf"device cuda: the painters at {address} have cpu: leave --device unset"):
        require(options, Keys())


def test_no_painters_are_a_problem_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.painters import ray_painter

    monkeypatch.setattr(ray_painter.RayPainter.__init__, "__defaults__", (0.1,))
    with pytest.raises(ChecksFailed, match=r"no painter at 127.0.0.1:2 for"):
        require(StoryboardOptions(painters="127.0.0.1:2"), Keys())


@pytest.mark.parametrize(
    "text", ["", "aldar kose rides a camel, at noon", "Ёлка’s don't 12 345  Алдар", "<|startoftext|> x", "a\n\nb\tc é"]
)
def test_tokens_are_counted_as_transformers_counts_them(text: str) -> None:
    folder = ROOT / "weights/steppe/tokenizer"
    count = clip_counter(folder)
    assert count is not None
    assert count(text) == len(CLIPTokenizer.from_pretrained(folder)(text, truncation=False, verbose=False).input_ids)


def test_a_wrong_address_is_one_line_with_the_valid_forms() -> None:
    with pytest.raises(ValidationError) as caught:
        StoryboardOptions(painters="here")
    assert explain(caught.value) == "painters: valid painters: embedded, auto, HOST:PORT, ray://HOST:PORT, got 'here'"
