"""The storyboard flow from the sentence to the directory, on a real Prefect server and tiny real models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flow_runs import STORY, Ran, Stage, created, scenes_of
from PIL import Image, ImageDraw

from flows.storyboard import storyboard
from models.errors import FrameRejected, InputError
from models.frames.recipe import read_recipe
from models.sizes import Size
from tasks.checks import check
from tasks.frames import generate_frame
from tasks.report import find_near_copies, write_report
from tasks.retries import worth_retrying
from tasks.story import refine_prompts, write_scenes
from tasks.weights import fetch_weights, load_models

STAGES = ("checks", "weights", "load models", "scenes", "prompts", "compare frames", "report")
TASKS = (
    check,
    fetch_weights,
    load_models,
    write_scenes,
    refine_prompts,
    generate_frame,
    find_near_copies,
    write_report,
)


def test_the_directory_holds_the_storyboard_and_nothing_else(told: Ran) -> None:
    assert told.board.parent == told.output
    assert sorted(path.name for path in told.board.iterdir()) == [
        "contact_sheet.png",
        *(f"frame_00{number}.png" for number in range(1, 7)),
        "report.json",
        "scene_breakdown.json",
        "sdxl_prompts.json",
    ]


def test_the_flow_returns_the_directory(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    board = storyboard(STORY, stage.options(frames=6))
    assert Path(board) in stage.boards()
    assert (Path(board) / "report.json").is_file()


def test_the_report_tells_everything(told: Ran) -> None:
    report = json.loads((told.board / "report.json").read_text("utf-8"))
    assert (report["story"], report["base_seed"], report["num_frames"]) == (STORY, 42, 6)
    assert (report["pipeline"], report["profile"]) == ("reference_guided", "tiny")
    assert [frame["seed"] for frame in report["frames"]] == [42, 2042, 3042, 4042, 5042, 6042]
    prompts = json.loads((told.board / "sdxl_prompts.json").read_text("utf-8"))
    for number, (frame, prompt) in enumerate(zip(report["frames"], prompts, strict=True), start=1):
        picture = (told.board / frame["file"]).read_bytes()
        assert frame["file"] == f"frame_{number:03d}.png"
        assert frame["sha256"] == hashlib.sha256(picture).hexdigest()
        assert frame["scene"] == scenes_of(told).scenes[number - 1].model_dump(mode="json") == prompt["scene"]
        assert frame["prompt"] == prompt["prompt"]
        assert (frame["attempts"], frame["painted"], frame["accepted"]) == (1, 1, True)
        assert -1 <= frame["prompt_score"] <= 1
        assert [candidate["sha256"] for candidate in frame["candidates"]] == [frame["sha256"]]
    similarity = [frame["consistency_score"] for frame in report["frames"]]
    assert similarity[0] is None
    assert report["average_consistency"] == pytest.approx(np.mean(similarity[1:]))
    assert report["min_consistency"] == min(similarity[1:])
    assert 0.5 <= min(similarity[1:]) < 1
    assert report["weak_frames"] == []
    assert set(report["seconds"]) == {"checks", "weights", "scenes", "prompts", "models", "frames"}


def test_each_picture_carries_its_recipe(told: Ran) -> None:
    for frame in told.report.frames:
        recipe = read_recipe(told.board / frame.file)
        assert (recipe.prompt, recipe.seed, recipe.frame) == (frame.prompt, frame.seed, frame.number)
        assert (recipe.steps, recipe.size, recipe.base) == (2, Size.square(64), told.report.weights.base)
        assert (recipe.control is None) == frame.reference
        assert recipe.control is None or recipe.control.kind == "reference"


def test_the_server_shows_every_stage_and_frame(told: Ran) -> None:
    frames = [f"frame {number}" for number in range(1, 7)]
    runs = told.task_runs(*STAGES, *frames)
    assert set(runs) == {*STAGES, *frames}
    assert {(run.state_name, run.run_count) for run in runs.values()} == {("Completed", 1)}
    assert runs["frame 1"].name == f"frame 1: {scenes_of(told).scenes[0].action}"
    flow_run = told.flow_run()
    assert (flow_run.name, flow_run.state_name) == (STORY, "Completed")
    assert flow_run.state is not None
    assert flow_run.state.message == "6 frames, all accepted"


def test_the_server_shows_pictures_and_scores_the_sheet_first_and_no_bar_that_is_full(told: Ran) -> None:
    artifacts = told.artifacts()
    assert set(artifacts) == {"contact-sheet", "scores", "report"}
    assert max(artifacts.values(), key=created).key == "contact-sheet", "the dashboard shows the newest first"
    assert str(artifacts["contact-sheet"].data).startswith("![contact sheet](data:image/jpeg;base64,")
    rows: list[dict[str, Any]] = json.loads(str(artifacts["scores"].data))
    assert [(row["frame"], row["seed"], row["verdict"]) for row in rows] == [
        (frame.number, frame.seed, "accepted") for frame in told.report.frames
    ]
    assert str(told.board) in str(artifacts["report"].data)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_stage_declares_its_retries(task: Any) -> None:
    assert task.retries == 3
    assert task.retry_condition_fn is worth_retrying
    assert task.retry_delay_seconds == (0 if task is generate_frame else [1, 4, 16])
    assert task.retry_jitter_factor == 0.5


@pytest.mark.parametrize(
    ("error", "again"), [(FrameRejected("x"), True), (InputError("x"), False), (KeyError(), False)]
)
def test_the_error_decides_whether_to_try_again(error: Exception, again: bool) -> None:
    from prefect.states import Failed

    assert worth_retrying(None, None, Failed(data=error)) is again


def test_the_simplified_pipeline_needs_no_controlnet(stage: Stage) -> None:
    ran = stage.run(pipeline="simplified", frames=7, seed=7)
    assert [frame.seed for frame in ran.report.frames] == [7, *range(2007, 7008, 1000)]
    assert ran.report.pipeline == "simplified"
    assert ran.report.weights.controlnet is None
    assert all(read_recipe(ran.board / frame.file).control is None for frame in ran.report.frames)


def test_one_frame_is_its_own_reference(stage: Stage) -> None:
    ran = stage.run(frames=1)
    assert [path.name for path in sorted(ran.board.glob("frame_*"))] == ["frame_001.png"]
    assert (ran.report.average_consistency, ran.report.min_consistency) == (None, None)
    assert ran.painted == [1]


def test_a_sketch_leads_its_frame_alone(stage: Stage, told: Ran) -> None:
    stage.begin_with(told)
    sketch = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(sketch).ellipse((12, 8, 50, 60), outline="black", width=3)
    file = stage.output / "sketch.png"
    sketch.save(file)
    ran = stage.run(frames=6, sketches={2: str(file)})
    assert ran.painted == [0, 1, 0, 0, 0, 0]
    control = read_recipe(ran.board / "frame_002.png").control
    assert control is not None
    assert (control.kind, control.scale, control.end) == ("sketch", 1.0, 1.0)
    assert (ran.pixels[1] != told.pixels[1]).any()


def test_the_same_inputs_give_the_same_bytes(stage: Stage) -> None:
    first, second = (stage.run(frames=2, output_dir=str(stage.output / name)) for name in "ab")
    assert first.painted == second.painted == [1, 1]
    assert first.pictures == second.pictures


def test_a_frame_hardly_depends_on_its_batch(stage: Stage, told: Ran) -> None:
    together = stage.run(frames=6, batch_size=5)
    assert together.painted == told.painted
    assert np.abs(together.pixels - told.pixels).max() <= 1


@pytest.mark.parametrize(
    "story",
    [
        "\"Aldar\", said the 'bai',\nand <b>laughed</b> | 🐫 ../../etc/passwd {0} %s ${HOME}",
        ("Алдар Көсе сараң байды алдады. " * 99)[:1999] + "!",
        "Алдар Косе и жадный бай на базаре",
        "ألدار كوسه يخدع التاجر الجشع في السوق",
    ],
    ids=["marks", "2000 letters in Kazakh", "Russian", "Arabic"],
)
def test_any_story_can_be_told(stage: Stage, story: str) -> None:
    ran = stage.run(story, frames=1)
    assert ran.report.story == " ".join(story.split())
    assert [board.parent for board in stage.boards()] == [stage.output]
    assert read_recipe(ran.board / "frame_001.png").prompt.startswith("aldar_kose_man ")
