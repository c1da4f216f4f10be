"""Finished boards written by the flow's own records in no time: the pictures are noise instead of paintings."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.board.directory import PROMPTS_FILE, REPORT_FILE, SCENES_FILE, create_board, place_frame, write_json
from models.board.pages import write_sheet
from models.board.report import Run, build_report
from models.frames.generate import FrameJob, generate, seed_of, store_candidate
from models.frames.render_config import RenderConfig, read_sketches
from models.preflight.resolution import resolve
from models.records import FramePrompt, FrameResult, Scene, SceneBreakdown, Story, Weights
from models.scores import Scores
from models.settings import StoryboardOptions

WEIGHTS = Weights(base="b" * 64, controlnet="c" * 64, clip="d" * 64, adapter="e" * 64)
SCORES = Scores(consistency=0.8, prompt=0.5)
NOON = datetime(2025, 10, 19, 12, tzinfo=UTC)
STORY = "Aldar Köse outwits the khan"


def options_of(output: Path, **given: Any) -> StoryboardOptions:
    """Three frames of 64 pixels on a CPU."""
    plain = {"frames": 3, "width": 64, "height": 64, "device": "cpu", "output_dir": str(output)}
    return StoryboardOptions.model_validate({**plain, **given})


def render_config_of(options: StoryboardOptions, weights: Weights = WEIGHTS) -> RenderConfig:
    """How these options paint on a CPU."""
    on_cpu = options.model_copy(update={"device": "cpu", "precision": "fp32"})
    return RenderConfig(**dict(resolve(on_cpu, options.get_profile(), "first")), weights=weights)


def noise(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture of its own for each seed."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8))


def write_board(
    output: Path, *, story: str = STORY, weights: Weights = WEIGHTS, left_out: tuple[str, ...] = (), **given: Any
) -> Path:
    """A board of these options, as the flow would have left it."""
    options = options_of(output, **given)
    render_config, sketches = render_config_of(options, weights), read_sketches(options)
    board, done = create_board(output), list[FrameResult]()
    for number in range(1, options.frames + 1):
        prompt = FramePrompt(scene=_scene(number), prompt=f"aldar {number}", negative_prompt="", tokens=9)
        reference = done[0] if done else None
        done.append(
            _painted(
                FrameJob(render_config=render_config, prompt=prompt, reference=reference, sketch=sketches.get(number))
            )
        )
        place_frame(board, done[-1])
    scenes = tuple(result.prompt.scene for result in done)
    breakdown = SceneBreakdown(
        story=Story(text=story), writer="offline/1", title="The khan", cast=(), scenes=scenes, left_out=left_out
    )
    run = Run(render_config=render_config, device="cpu", seconds={}, started=NOON, finished=NOON)
    report = build_report(breakdown, done, options, run)
    write_json(board, SCENES_FILE, breakdown)
    write_json(board, PROMPTS_FILE, [result.prompt for result in done])
    write_sheet(report, board)
    write_json(board, REPORT_FILE, report)
    return board


def _scene(number: int) -> Scene:
    return Scene(number=number, caption=f"Aldar bows, {number}.", action="is bowing", place="x", time="y", shot="z")


def _painted(job: FrameJob) -> FrameResult:
    scores = SCORES.model_copy(update={"consistency": None}) if job.number == 1 else SCORES
    store_candidate(job, 0, noise(seed_of(42, job.number, 0), job.render_config.size), scores)
    return generate(job)


def edit(file: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file as somebody with an editor does."""
    data = json.loads(file.read_text("utf-8"))
    change(data)
    file.write_text(json.dumps(data), "utf-8")


def recipe_text(png: bytes) -> str:
    """The recipe that a picture carries, as text."""
    with Image.open(io.BytesIO(png)) as image:
        return str(image.info["aldar_storyboard"])
