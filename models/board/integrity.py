"""Finds contradictions between and within a board's files, which show that a file was edited by hand.

Each function yields one line for each fault, with the frame and the values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.board.directory import frame_name
from models.board.report import FrameReport, Report, totals
from models.frames.recipe import Recipe
from models.frames.render_config import RenderSettings
from models.records import FramePrompt

TAKES = "takes"


def find_report_faults(report: Report) -> Iterator[str]:
    """Yield the contradictions within the report."""
    numbers = [frame.number for frame in report.frames]
    if not numbers or numbers != list(range(1, report.num_frames + 1)):
        yield f"its frames must be numbered 1 to {report.num_frames} in order, got {numbers}"
        return
    for frame in report.frames:
        yield from (f"frame {frame.number}: {fault}" for fault in _frame_faults(frame))
    for name, value in totals(report.frames).items():
        if not _same(getattr(report, name), value):
            yield f"{name} is {getattr(report, name)}, its frames give {value}"
    options = report.options
    for name, reported, given in (
        ("base_seed", report.base_seed, options.seed),
        ("profile", report.profile, options.profile),
        ("pipeline", report.pipeline, options.pipeline),
    ):
        if reported != given:
            yield f"{name} is {reported!r}, its options say {given!r}"


def _frame_faults(frame: FrameReport) -> Iterator[str]:
    if not frame.candidates:
        yield "has no candidates"
        return
    if frame.file != frame_name(frame.number):
        yield f"its file must be {frame_name(frame.number)}, got {frame.file!r}"
    chosen = next((candidate for candidate in frame.candidates if candidate.sha256 == frame.sha256), None)
    if chosen is None:
        yield "none of its candidates has its sha256"
        return
    about = {
        "seed": chosen.seed,
        "accepted": chosen.accepted,
        "prompt_score": chosen.scores.prompt,
        "consistency_score": None if frame.number == 1 else chosen.scores.consistency,
        "anomalies": chosen.scores.anomalies,
        "attempts": len(frame.candidates),
        "reference": frame.number == 1,
    }
    for name, value in about.items():
        if getattr(frame, name) != value:
            yield f"{name} is {getattr(frame, name)}, its candidates say {value}"
    if frame.scene.number != frame.number:
        yield f"its scene has the number {frame.scene.number}"
    for count, take in enumerate(frame.takes, start=1):
        if take.file != take_name(frame, count):
            yield f"its take {count} must be {take_name(frame, count)}, got {take.file!r}"


def _same(reported: object, value: object) -> bool:
    if isinstance(reported, float) and isinstance(value, float):
        return math.isclose(reported, value, rel_tol=1e-9, abs_tol=1e-9)
    return reported == value


def take_name(frame: FrameReport, count: int) -> str:
    """Return the file name of the frame's `count`-th replaced picture, counted from 1."""
    return f"{TAKES}/{Path(frame_name(frame.number)).stem}_take{count}.png"


def find_prompt_faults(prompts: Sequence[FramePrompt], report: Report) -> Iterator[str]:
    """Yield the contradictions between the prompts' file and the report; both must have as many frames."""
    for frame, prompt in zip(report.frames, prompts, strict=True):
        if prompt.number != frame.number:
            yield f"prompt {frame.number} is of scene {prompt.number}"
        elif (prompt.prompt, prompt.negative_prompt) != (frame.prompt, frame.negative_prompt):
            yield f"prompt {frame.number} is not the one in the report"


def find_recipe_faults(frame: FrameReport, recipe: Recipe, settings: RenderSettings) -> Iterator[str]:
    """Yield the contradictions between the recipe in a frame's picture and the report."""
    reported = {
        "frame": frame.painted_as or frame.number,
        "seed": frame.seed,
        "prompt": frame.prompt,
        "negative_prompt": frame.negative_prompt,
        **{name: getattr(settings, name) for name in ("size", "steps", "sampler", "guidance")},
    }
    for name, value in reported.items():
        if getattr(recipe, name) != value:
            yield f"its {name} is {getattr(recipe, name)!r}, the report says {value!r}"
    lines = recipe.control
    if lines is not None and lines.kind == "reference":
        for name, acted, value in (
            ("control_scale", lines.scale, settings.control_scale),
            ("control_end", lines.end, settings.control_end),
        ):
            if acted != value:
                yield f"its {name} is {acted}, the report says {value}"
