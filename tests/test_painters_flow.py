"""Whole storyboards by warm painters: the embedded run's bytes, and a run that imports nothing that paints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from pydantic import ValidationError
from tiny_models import calibration_of
from transformers import CLIPTokenizer

from models.board.report import FrameReport, Report, Take
from models.errors import ChecksFailed
from models.language.tokens import clip_counter
from models.painters.painter import Shown
from models.preflight.checks import require
from models.profiles import ROOT, STEPPE
from models.scores import Scores
from models.secrets.keys import Keys
from models.settings import StoryboardOptions, explain
from models.vision.likeness import encoder_fingerprint, encoder_of, see

HEAVY = ("torch", "diffusers", "transformers")
RUN = """
import atexit, io, json, sys
from contextlib import redirect_stdout
from pathlib import Path
def tell():
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    with open(sys.argv[1], "w") as file:
        json.dump([sorted(set(sys.argv[2].split()) & set(sys.modules)), peak], file)
atexit.register(tell)
from flows.commands import redo_frame, storyboard
def last_line(command, *arguments):
    with redirect_stdout(io.StringIO()) as said:
        command.main(list(arguments))
    return said.getvalue().splitlines()[-1]
board = last_line(storyboard, *sys.argv[3:])
scenes = Path(board, "scene_breakdown.json")
told = scenes.read_text()
scenes.write_text(json.dumps({**json.loads(told), "scenes": json.loads(told)["scenes"][::-1]}))
print(last_line(storyboard, "--from", board))
scenes.write_text(told)
print(last_line(redo_frame, board, "1"))
"""


class Told(NamedTuple):
    """What a process made and needed."""

    boards: list[Path]
    """A board of two frames whose first was redone, and one of the same frames in the other order."""
    heavy: list[str]
    mebibytes: float
    log: str

    def reports(self) -> list[Report]:
        return [Report.model_validate_json((board / "report.json").read_bytes()) for board in self.boards]

    def pictures(self) -> list[tuple[str, str]]:
        """All pictures' names and sums."""
        files = [file for board in self.boards for file in sorted(board.rglob("frame_*.png"))]
        return [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]

    def judged(self) -> list[tuple[str, Scores, bool]]:
        frames = [frame for report in self.reports() for frame in report.frames]
        shown: list[FrameReport | Take] = [*frames, *(take for frame in frames for take in frame.takes)]
        return [(each.sha256, each.scores, each.accepted) for one in shown for each in one.candidates]


def tell(output: Path, lora: Path, painters: str) -> Told:
    """Make a board, make it again in another order, and redo its first frame, all in one process."""
    command = [sys.executable, "-c", RUN, str(output.with_suffix(".json")), " ".join(HEAVY), "Aldar rides home"]
    command += ["--frames=2", "--steps=4", "--attempts=1", f"--output-dir={output}", f"--lora-path={lora}"]
    environment = {**os.environ, "STORYBOARD_PAINTERS": painters}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    boards = [Path(line) for line in ended.stdout.splitlines()[-2:]]
    heavy, mebibytes = json.loads(output.with_suffix(".json").read_text())
    return Told(boards[::-1], heavy, mebibytes, ended.stderr)


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """Steppe's own LoRA, with a calibration on a picture of noise."""
    own = Path(shutil.copytree(str(STEPPE.adapter), tmp_path / "aldar"))
    image = Image.effect_noise((256, 256), 80).convert("RGB")
    (seen,) = see(encoder_of(STEPPE, "cpu"), [Shown(image, None)])
    made = calibration_of(seen, encoder_fingerprint(STEPPE))
    (own / "hero.json").write_text(made.model_dump_json())
    return own


def test_boards_by_painters_have_the_embedded_ones_bytes_and_scores_and_import_no_torch(
    address: str, tmp_path: Path, lora: Path
) -> None:
    embedded = tell(tmp_path / "embedded", lora, "embedded")
    assert embedded.heavy == sorted(HEAVY), "the check below would find them"
    far = tell(tmp_path / "painters", lora, address)
    assert (far.heavy, far.mebibytes < 300) == ([], True), far.mebibytes
    assert far.pictures() == embedded.pictures()
    assert len(far.pictures()) == 5  # one is the take that was redone
    assert far.judged() == embedded.judged()
    redone, edited = far.reports()
    assert [frame.painted for frame in edited.frames] == [0, 0]
    assert [report.weights for report in far.reports()] == [report.weights for report in embedded.reports()]
    assert redone.device == "cpu"
    for frame in (redone.frames[1], edited.frames[1]):
        assert frame.likeness is not None
        assert None not in (frame.likeness.own, frame.likeness.crop, frame.consistency_score)
    assert "waited" in far.log
    assert "painted and scored in" in far.log


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
