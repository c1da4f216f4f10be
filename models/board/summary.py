"""The report for a terminal."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import Path

from models.board.report import FrameReport, Report, show_score

MOST_ATTEMPTS = 10  # the upper limit of StoryboardOptions.attempts


def summary_lines(report: Report, board: Path | None = None) -> list[str]:
    """Return the report for a terminal: title, a line per frame, averages, advice about weak frames, and warnings."""
    rows = [("frame", "", "image similarity", "prompt", "attempts", "seed"), *map(_row, report.frames)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(_align(row, widths)).rstrip() for row in rows]
    return [report.title, "", *table, "", _averages(report), *_advice(report, board), *_warned(report)]


def _row(frame: FrameReport) -> tuple[str, ...]:
    similarity = "reference" if frame.reference else show_score(frame.consistency_score)
    verdict = "accepted" if frame.accepted else "weak"
    rest = (show_score(frame.prompt_score), str(frame.attempts), str(frame.seed))
    return (str(frame.number), verdict, similarity, *rest)


def _align(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Align the verdict to the left and numbers to the right."""
    return [
        cell.ljust(width) if i == 1 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _warned(report: Report) -> Iterator[str]:
    yield from (f"warning: {warning}" for warning in report.warnings)


def _averages(report: Report) -> str:
    seconds = (report.finished - report.started).total_seconds()
    painted = sum(frame.painted for frame in report.frames)
    return (
        f"image similarity {show_score(report.average_consistency)} on average, "
        f"{show_score(report.min_consistency)} at least (threshold: {show_score(report.threshold)}); "
        f"{painted} painted in {seconds:.1f} s"
    )


def _advice(report: Report, board: Path | None) -> list[str]:
    """Return advice about the weak frames; empty if there are none."""
    weak = [frame for frame in report.frames if not frame.accepted]
    if not weak:
        return []
    named = f"weak frame{'s' if len(weak) > 1 else ''}: {', '.join(str(frame.number) for frame in weak)}"
    ways = [f"--attempts {min(2 * report.options.attempts, MOST_ATTEMPTS)}"]
    if report.options.attempts == MOST_ATTEMPTS:
        ways = ["--seed N (another base seed)"]
    similarity = [
        frame.consistency_score for frame in weak if frame.consistency_score is not None and not frame.likeness
    ]
    prompt = [frame.prompt_score for frame in weak]
    bounds = None if report.render_config is None else report.render_config.bounds
    if bounds is not None and not bounds.calibrated:  # an option is no likeness to calibrated pictures
        crops = [frame.likeness.crop for frame in weak if frame.likeness and frame.likeness.crop is not None]
        ways += _lower("--threshold", crops, bounds.least)
    ways += _lower("--threshold", similarity, report.threshold) + _lower(
        "--prompt-threshold", prompt, report.prompt_threshold
    )
    one = f"python -m flows.redo_frame {shlex.quote(str(board)) if board else 'BOARD'} {weak[0].number}"
    return [named, f"  try: {one}, or python -m flows.storyboard … {' or '.join(ways)}"]


def _lower(option: str, scores: list[float], threshold: float) -> list[str]:
    """Return the option with a threshold that all scores reach; empty if they reach the current one."""
    least = min(scores, default=threshold)
    return [f"{option} {math.floor(least * 100) / 100:.2f}"] if least < threshold else []
