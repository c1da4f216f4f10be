"""A board in the words and the layout of public benchmarks."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image
from written_boards import write_board

from models.board.directory import REPORT_FILE
from models.board.metrics import Metrics, metrics_of
from models.board.report import Report
from models.export.options import ExportOptions
from models.export.write import write_exports
from models.scores import Hero, Likeness, Scores
from models.vision.anomalies import NEAR_COPY


def frame(prompt: float, crop: float | None = None, dino: float | None = None, copy: bool = False) -> Scores:
    alike = None if crop is None else Likeness(crop=crop, around=0.1, clip=crop, dino=dino, measured_by="clip")
    flaws = (f"{NEAR_COPY} 1: they differ by 3.0 at most",) if copy else ("the picture is black",)
    return Scores(consistency=0.5, prompt=prompt, likeness=alike, anomalies=flaws)


def test_metrics_are_means_and_what_was_not_measured_is_null() -> None:
    told = metrics_of([frame(0.2, 1.0), frame(0.3, 0.6), frame(0.4), frame(0.5, 0.8, copy=True)])
    assert told.clip_t == pytest.approx(0.35)
    assert told.clip_i == pytest.approx(0.7)
    assert told.copy_rate == pytest.approx(1 / 3)
    assert (told.dino_i, told.crops) == (None, 2)


def test_dino_is_measured_beside_clip() -> None:
    told = metrics_of([frame(0.2), frame(0.3, 0.6, dino=0.4), frame(0.3, 0.8, dino=0.6)])
    assert told.dino_i == pytest.approx(0.5)
    assert told.clip_i == pytest.approx(0.7)


def test_a_single_frame_is_compared_with_nothing() -> None:
    assert metrics_of([frame(0.2)]) == Metrics(clip_t=0.2, clip_i=None, dino_i=None, copy_rate=None, crops=0)


def test_a_report_holds_metrics_and_one_without_them_is_read(tmp_path: Path) -> None:
    board = write_board(tmp_path, frames=3)
    report = Report.model_validate_json((board / REPORT_FILE).read_bytes())
    assert report.metrics is not None
    assert report.metrics.clip_t == pytest.approx(0.5)
    assert report.metrics.copy_rate == 0.0
    earlier = json.loads((board / REPORT_FILE).read_bytes())
    del earlier["metrics"]
    for each in earlier["frames"]:
        del each["hero"], each["likeness"]
    assert Report.model_validate(earlier).metrics is None


SHOTS = re.compile(r"outputs/storyboard/(\w+)/en/\d{8}-\d{6}/(\d+)/shots/shot_(\d\d)\.png")
"""{outputs}/{method}/{mode}/{language}/{timestamp}/{story}/shots, as the evaluator's reader walks it."""
FIELDS = {
    "Setting Description",
    "Plot Correspondence",
    "Characters Appearing",
    "Static Shot Description",
    "Shot Perspective Design",
}
"""What its reader of stories requires of each shot."""


def exported(board: Path) -> tuple[zipfile.ZipFile, tuple[str, ...]]:
    told = write_exports(board, ExportOptions(forms=("vistorybench",)))
    return zipfile.ZipFile(Path(told.folder) / "vistorybench.zip"), told.warnings


def test_the_layout_is_what_vistorybench_reads(tmp_path: Path) -> None:
    board = write_board(tmp_path, frames=3)
    archive, _ = exported(board)
    with archive:
        shots = [found for name in archive.namelist() if (found := SHOTS.fullmatch(name))]
        assert [int(found[3]) for found in shots] == [0, 1, 2]
        assert {int(found[2]) for found in shots} == {1}
        for number, found in enumerate(shots, start=1):
            assert archive.read(found[0]) == (board / f"frame_{number:03d}.png").read_bytes()
        story = json.loads(archive.read("dataset/storyboard/01/story.json"))
    assert [shot["index"] for shot in story["Shots"]] == [1, 2, 3]
    for shot in story["Shots"]:
        assert set(shot) >= FIELDS
        assert all(shot[field]["en"] for field in FIELDS)
        assert set(shot["Characters Appearing"]["en"]) <= set(story["Characters"])
    images = [PurePosixPath(name) for name in archive.namelist() if "/image/" in name]
    assert {path.parent.name for path in images} <= set(story["Characters"])
    assert story["Characters"]["hero"]["num_of_appearances"] == 3


def test_the_heros_picture_is_his_crop_of_frame_1_or_says_that_it_is_not(tmp_path: Path) -> None:
    board = write_board(tmp_path, frames=2)
    archive, warnings = exported(board)
    assert "whole of frame 1" in warnings[0]
    report = Report.model_validate_json((board / REPORT_FILE).read_bytes())
    hero = Hero(found=True, box=(8, 16, 40, 56))
    frames = (report.frames[0].model_copy(update={"hero": hero}), *report.frames[1:])
    (board / REPORT_FILE).write_text(report.model_copy(update={"frames": frames}).model_dump_json())
    archive, warnings = exported(board)
    assert warnings == ()
    with archive, Image.open(io.BytesIO(archive.read("dataset/storyboard/01/image/hero/00.png"))) as picture:
        assert picture.size == (32, 40)
