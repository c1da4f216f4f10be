"""The report: frames, scores, settings and weights of a board. Its file, report.json, marks a board as finished."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from datetime import datetime
from importlib import metadata
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from models.board.directory import frame_name
from models.board.metrics import Metrics, metrics_of
from models.board.story_warnings import find_warnings
from models.frames.recipe import DISTRIBUTION
from models.frames.render_config import RenderConfig
from models.frames.setting_warnings import find_setting_warnings
from models.records import Candidate, FrameResult, Record, Scene, SceneBreakdown, Weights
from models.scores import Hero, Likeness, Scores
from models.settings import Pipeline, StoryboardOptions
from models.sizes import without_size

PACKAGES = (DISTRIBUTION, "prefect", "torch", "diffusers", "transformers", "peft", "openai", "pillow")


class Run(Record):
    """A run's render config, device and times."""

    render_config: RenderConfig
    device: str
    """"cpu", or the GPU's name."""
    seconds: dict[str, float]
    """Stage -> seconds."""
    started: datetime
    finished: datetime


class CandidateReport(Record):
    """One candidate of a frame. Its picture is in the store under its sha256."""

    attempt: int
    seed: int
    sha256: str
    scores: Scores
    accepted: bool
    reasons: tuple[str, ...]


class Take(Record):
    """A picture of the board that a redo replaced."""

    file: str
    """Name in the board's directory: takes/frame_004_take1.png."""
    sha256: str
    prompt: str
    seed: int
    accepted: bool
    candidates: tuple[CandidateReport, ...]
    """All candidates it was chosen from, itself included."""
    replaced: datetime


class FrameReport(Record):
    """One frame of the board."""

    number: int
    file: str
    """Name in the board's directory."""
    sha256: str
    reference: bool
    """Whether this is frame 1, with which the others are compared."""
    scene: Scene
    prompt: str
    negative_prompt: str
    seed: int
    attempts: int
    painted: int
    """Number of candidates that this run painted; the others came from the store."""
    consistency_score: float | None
    """CLIP cosine of this frame and frame 1; null for the reference."""
    prompt_score: float
    accepted: bool
    anomalies: tuple[str, ...]
    candidates: tuple[CandidateReport, ...]
    hero: Hero | None = None
    """Where he is in the picture. Boards of earlier versions did not look for him."""
    likeness: Likeness | None = None
    """His crop and frame 1's; null where he was not found, and for frame 1 of a character without a calibration."""
    sketch: str | None = None
    """File of the sketch that guided the frame, if any. Boards of earlier versions have it only for redone frames."""
    sketch_sha256: str | None = None
    """sha256 of the sketch at the time of painting."""
    painted_as: int | None = None
    """The number the frame was painted as, if its panel has moved since; the recipe in its picture has that number."""
    takes: tuple[Take, ...] = ()
    """The replaced pictures, oldest first."""


class Report(Record):
    """The content of report.json. A score that was not measured is null, never 0."""

    story: str
    title: str
    base_seed: int
    num_frames: int
    pipeline: Pipeline
    profile: str
    writer: str
    threshold: float = Field(ge=-1.0, le=1.0)
    """Least required image similarity to frame 1."""
    prompt_threshold: float = Field(ge=-1.0, le=1.0)
    average_consistency: float | None
    """Mean over frames 2 to n; null for a single frame."""
    min_consistency: float | None
    weak_frames: tuple[int, ...]
    """Numbers of the frames that were not accepted."""
    metrics: Metrics | None = None
    """In the words of public benchmarks; boards of earlier versions have none."""
    frames: tuple[FrameReport, ...]
    options: Annotated[StoryboardOptions, BeforeValidator(without_size)]
    """The options as given; null means the default of the profile or the machine."""
    render_config: RenderConfig | None = Field(None, validation_alias=AliasChoices("render_config", "studio"))
    """The resolved settings, which a redo uses again. Earlier versions called it studio, or did not have it (null)."""
    weights: Weights
    versions: dict[str, str | None]
    """Versions of python and of PACKAGES; null for one that is not installed."""
    device: str
    precision: str
    seconds: dict[str, float]
    started: datetime
    finished: datetime
    warnings: tuple[str, ...] = ()
    """Settings that may spoil the pictures, and parts of the story that the board can't show; each a sentence."""
    notes: tuple[str, ...] = ()
    """Consequences of redone frames for the others, each a sentence."""


def build_report(
    breakdown: SceneBreakdown, results: Sequence[FrameResult], options: StoryboardOptions, run: Run
) -> Report:
    """Return the report of a board whose frames are all done.

    Args:
        breakdown: the story and its scenes.
        results: one per frame, in order.
        options: the options as given; they hold no keys.
        run: the run's render config, device and times.
    """
    frames, profile = tuple(report_frame(result) for result in results), run.render_config.profile
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
        warnings=(*find_setting_warnings(options, profile), *find_warnings(breakdown)),
        weights=run.render_config.weights,
        precision=run.render_config.setup.precision,
        versions=_versions(),
        **totals(frames),
        **dict(run),
    )


def with_frames(report: Report, frames: Sequence[FrameReport], *, notes: Sequence[str] = ()) -> Report:
    """Return a copy of the report with these frames, their totals, and additional notes."""
    return report.model_copy(update={"frames": tuple(frames), **totals(frames), "notes": (*report.notes, *notes)})


def totals(frames: Sequence[FrameReport]) -> dict[str, Any]:
    """Return the report's fields that summarize all frames."""
    similarity = [frame.consistency_score for frame in frames if frame.consistency_score is not None]
    return {
        "average_consistency": math.fsum(similarity) / len(similarity) if similarity else None,
        "min_consistency": min(similarity, default=None),
        "weak_frames": tuple(frame.number for frame in frames if not frame.accepted),
        "metrics": metrics_of([_scores_of(frame) for frame in frames]),
    }


def _scores_of(frame: FrameReport) -> Scores:
    return Scores(
        consistency=frame.consistency_score,
        prompt=frame.prompt_score,
        anomalies=frame.anomalies,
        hero=frame.hero,
        likeness=frame.likeness,
    )


def report_frame(result: FrameResult) -> FrameReport:
    """Return the report's entry of a finished frame."""
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
        hero=scores.hero,
        likeness=scores.likeness,
        candidates=tuple(_report_candidate(candidate) for candidate in result.candidates),
        sketch=None if result.sketch is None else result.sketch.file,
        sketch_sha256=None if result.sketch is None else result.sketch.sha256,
        painted_as=result.painted_as,
    )


def _report_candidate(candidate: Candidate) -> CandidateReport:
    """Return a candidate without its path, which is valid only on this machine."""
    return CandidateReport(**candidate.model_dump(exclude={"file"}))


def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def outcome(report: Report) -> str:
    """Return a summary of the frames in a few words: "6 frames, 1 weak: 2"."""
    frames = f"{report.num_frames} frame{'s' if report.num_frames > 1 else ''}"
    weak, count = report.weak_frames, len(report.warnings)
    verdict = f"{len(weak)} weak: {', '.join(map(str, weak))}" if weak else "all accepted"
    warned = f"; {count} warning{'s' if count > 1 else ''}: see the report" if count else ""
    return f"{frames}, {verdict}{warned}"


def show_score(score: float | None, decimals: int = 2) -> str:
    """Return a score as text, or a dash if it was not measured."""
    return "–" if score is None else f"{score:.{decimals}f}"
