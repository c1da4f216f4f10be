"""The report: what was painted, how well, and out of what. Its file, report.json, also marks a board as finished."""

from __future__ import annotations

import math
import platform
import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field

from models.board.directory import frame_name
from models.board.story_warnings import find_warnings
from models.frames.recipe import DISTRIBUTION
from models.frames.render_config import RenderConfig
from models.frames.setting_warnings import find_setting_warnings
from models.records import Candidate, FrameResult, Record, Scene, SceneBreakdown, Scores, Weights
from models.settings import Pipeline, StoryboardOptions

PACKAGES = (DISTRIBUTION, "prefect", "torch", "diffusers", "transformers", "peft", "openai", "pillow")
MOST_ATTEMPTS = 10  # what StoryboardOptions.attempts allows


class Run(Record):
    """The circumstances of a run."""

    render_config: RenderConfig
    weights: Weights
    device: str
    """"cpu", or the GPU's name."""
    precision: str
    seconds: dict[str, float]
    """Stage -> seconds."""
    started: datetime
    finished: datetime


class CandidateReport(Record):
    """One attempt at a frame. Its picture lies in the store, named by the sha256."""

    attempt: int
    seed: int
    sha256: str
    scores: Scores
    accepted: bool
    reasons: tuple[str, ...]


class Take(Record):
    """A picture that was on the board until its frame was redone."""

    file: str
    """Name in the board's directory: takes/frame_004_take1.png."""
    sha256: str
    prompt: str
    seed: int
    accepted: bool
    candidates: tuple[CandidateReport, ...]
    """All attempts it was chosen from, itself included."""
    replaced: datetime


class FrameReport(Record):
    """One frame of the board."""

    number: int
    file: str
    """Name in the board's directory."""
    sha256: str
    reference: bool
    """Whether this is frame 1, which the others are compared with."""
    scene: Scene
    prompt: str
    negative_prompt: str
    seed: int
    attempts: int
    painted: int
    """How many of the attempts this run painted; the others were taken from the store."""
    consistency_score: float | None
    """CLIP cosine of this frame and frame 1; null for the reference."""
    prompt_score: float
    accepted: bool
    anomalies: tuple[str, ...]
    candidates: tuple[CandidateReport, ...]
    sketch: str | None = None
    """The sketch that led it, if one did; of boards made before that was kept, only of frames that were redone."""
    sketch_sha256: str | None = None
    """Of that file when it was painted."""
    takes: tuple[Take, ...] = ()
    """The pictures before it, the oldest first."""


class Report(Record):
    """Everything about a board. A score that was not measured is null, never 0."""

    story: str
    title: str
    base_seed: int
    num_frames: int
    pipeline: Pipeline
    profile: str
    writer: str
    threshold: float = Field(ge=-1.0, le=1.0)
    """Least consistency that was asked for."""
    prompt_threshold: float = Field(ge=-1.0, le=1.0)
    average_consistency: float | None
    """Over frames 2 to n; null where there are none."""
    min_consistency: float | None
    weak_frames: tuple[int, ...]
    """Numbers of the frames that were not accepted."""
    frames: tuple[FrameReport, ...]
    options: StoryboardOptions
    """As they were given; null means what the profile or the machine suggests."""
    render_config: RenderConfig | None = Field(None, validation_alias=AliasChoices("render_config", "studio"))
    """What was decided once for all frames, by which one is redone; null on boards made before it was kept. Earlier
    versions called it studio."""
    weights: Weights
    versions: dict[str, str | None]
    """Of python and the packages that matter; null for one that is not installed."""
    device: str
    precision: str
    seconds: dict[str, float]
    started: datetime
    finished: datetime
    warnings: tuple[str, ...] = ()
    """What may have spoilt the pictures, and what the board cannot show or tell of its story; each a sentence."""
    notes: tuple[str, ...] = ()
    """What redone frames mean for the others, each a sentence."""


def build_report(
    breakdown: SceneBreakdown, results: Sequence[FrameResult], options: StoryboardOptions, run: Run
) -> Report:
    """The report of a board whose frames are all done.

    Args:
        breakdown: the story and its scenes.
        results: one per frame, in order.
        options: as the person gave them. Keys are no part of them.
        run: the circumstances.
    """
    profile = options.get_profile()
    frames = tuple(report_frame(result) for result in results)
    return Report(
        frames=frames,
        story=breakdown.story.text,
        title=breakdown.title,
        base_seed=options.seed,
        num_frames=len(frames),
        pipeline=options.pipeline,
        profile=profile.name,
        writer=breakdown.writer,
        threshold=run.render_config.consistency_threshold,
        prompt_threshold=run.render_config.prompt_threshold,
        options=StoryboardOptions.model_validate(options.model_dump(include=set(StoryboardOptions.model_fields))),
        warnings=(*find_setting_warnings(options), *find_warnings(breakdown)),
        versions=_versions(),
        **totals(frames),
        **dict(run),
    )


def with_frames(report: Report, frames: Sequence[FrameReport], *, notes: Sequence[str] = ()) -> Report:
    """The report of the same board with these frames, their totals, and these notes besides those that it has."""
    return report.model_copy(update={"frames": tuple(frames), **totals(frames), "notes": (*report.notes, *notes)})


def totals(frames: Sequence[FrameReport]) -> dict[str, Any]:
    """What the report says of all frames together, by name."""
    similarity = [frame.consistency_score for frame in frames if frame.consistency_score is not None]
    return {
        "average_consistency": math.fsum(similarity) / len(similarity) if similarity else None,
        "min_consistency": min(similarity, default=None),
        "weak_frames": tuple(frame.number for frame in frames if not frame.accepted),
    }


def report_frame(result: FrameResult) -> FrameReport:
    """A frame that is done, as the report tells it."""
    scores = result.scores
    return FrameReport(
        number=result.number,
        file=frame_name(result.number),
        sha256=result.sha256,
        reference=result.number == 1,
        scene=result.prompt.scene,
        prompt=result.prompt.prompt,
        negative_prompt=result.prompt.negative_prompt,
        seed=result.seed,
        attempts=result.attempts,
        painted=result.painted,
        consistency_score=None if result.number == 1 else scores.consistency,
        prompt_score=scores.prompt,
        accepted=result.accepted,
        anomalies=scores.anomalies,
        candidates=tuple(_report_candidate(candidate) for candidate in result.candidates),
        sketch=None if result.sketch is None else result.sketch.file,
        sketch_sha256=None if result.sketch is None else result.sketch.sha256,
    )


def _report_candidate(candidate: Candidate) -> CandidateReport:
    """A candidate without its path, which means nothing on another machine."""
    return CandidateReport(**candidate.model_dump(exclude={"file"}))


def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def outcome(report: Report) -> str:
    """What became of the frames, in a few words: "6 frames, 1 weak: 2"."""
    frames = f"{report.num_frames} frame{'s' if report.num_frames > 1 else ''}"
    weak, count = report.weak_frames, len(report.warnings)
    verdict = f"{len(weak)} weak: {', '.join(map(str, weak))}" if weak else "all accepted"
    warned = f"; {count} warning{'s' if count > 1 else ''}: see the report" if count else ""
    return f"{frames}, {verdict}{warned}"


def summary_lines(report: Report, board: Path | None = None) -> list[str]:
    """The report for a terminal: title, a line per frame, the averages, and what to do about weak frames."""
    rows = [("frame", "", "image similarity", "prompt", "attempts", "seed"), *map(_row, report.frames)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(_align(row, widths)).rstrip() for row in rows]
    return [report.title, "", *table, "", _averages(report), *_advice(report, board), *_warned(report)]


def _row(frame: FrameReport) -> tuple[str, ...]:
    similarity = "reference" if frame.reference else show_score(frame.consistency_score)
    verdict = "accepted" if frame.accepted else "weak"
    return (
        str(frame.number),
        verdict,
        similarity,
        show_score(frame.prompt_score),
        str(frame.attempts),
        str(frame.seed),
    )


def _align(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """The verdict to the left, numbers to the right."""
    return [
        cell.ljust(width) if i == 1 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def show_score(score: float | None, decimals: int = 2) -> str:
    """A score as text, or a dash for one that was not measured."""
    return "–" if score is None else f"{score:.{decimals}f}"


def _warned(report: Report) -> Iterator[str]:
    yield from (f"warning: {warning}" for warning in report.warnings)


def _averages(report: Report) -> str:
    seconds = (report.finished - report.started).total_seconds()
    painted = sum(frame.painted for frame in report.frames)
    return (
        f"image similarity {show_score(report.average_consistency)} on average, "
        f"{show_score(report.min_consistency)} at least (asked for: {show_score(report.threshold)}); "
        f"{painted} painted in {seconds:.1f} s"
    )


def _advice(report: Report, board: Path | None) -> list[str]:
    """What to do about the weak frames; nothing if there are none."""
    weak = [frame for frame in report.frames if not frame.accepted]
    if not weak:
        return []
    named = f"weak frame{'s' if len(weak) > 1 else ''}: {', '.join(str(frame.number) for frame in weak)}"
    ways = [f"--attempts {min(2 * report.options.attempts, MOST_ATTEMPTS)}"]
    if report.options.attempts == MOST_ATTEMPTS:
        ways = ["--seed N (another base seed)"]
    similarity = [frame.consistency_score for frame in weak if frame.consistency_score is not None]
    prompt = [frame.prompt_score for frame in weak]
    ways += _lower("--threshold", similarity, report.threshold) + _lower(
        "--prompt-threshold", prompt, report.prompt_threshold
    )
    one = f"python -m flows.redo_frame {shlex.quote(str(board)) if board else 'BOARD'} {weak[0].number}"
    return [named, f"  try: {one}, or python -m flows.storyboard … {' or '.join(ways)}"]


def _lower(option: str, scores: list[float], threshold: float) -> list[str]:
    """The option with a value that all these scores reach; nothing if they reach the threshold as it is."""
    least = min(scores, default=threshold)
    return [f"{option} {math.floor(least * 100) / 100:.2f}"] if least < threshold else []
