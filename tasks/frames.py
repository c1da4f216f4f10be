"""Frames: one task each, so that the dashboard shows every retry and score."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run

from models.board.directory import place_frame
from models.board.report import show_score
from models.errors import RunStopped
from models.frames.generate import FrameJob, forget, generate
from models.origin.signing import load_signing
from models.records import FrameResult
from models.scores import Scores
from models.secrets.keys import Keys
from tasks.painters import note_turnaround
from tasks.progress import Bar, send_later
from tasks.retries import RETRYING

SPARE_RETRIES = 2
"""Retries besides the attempts, for errors other than a rejected frame: out of memory, a busy disk."""
_SHOWN_STEP = 0.25
_STOPPED: set[str] = set()


def stop_painting(run: str) -> None:
    """Make the frames of this run stop at their next step, since their threads can't be interrupted."""
    _STOPPED.add(run)


def _go_on(job: FrameJob) -> None:
    if job.render_config.run in _STOPPED:
        raise RunStopped(f"frame {job.number}: the run was stopped; run it again to go on")


def _first_try_of_the_run() -> bool:
    return (task_run.run_count or 1) == 1 and (flow_run.run_count or 1) == 1


def _name() -> str:
    job: FrameJob = task_run.parameters["job"]
    return f"frame {job.number}: {job.prompt.scene.action[:60]}"


@task(name="frame", task_run_name=_name, **{**RETRYING, "retry_delay_seconds": 0})
def generate_frame(job: FrameJob, board: Path) -> FrameResult:
    """Paint and judge a frame; each retry takes the next seed, and the last one keeps the best candidate.

    Raises:
        FrameRejected: retryable; the message names score and threshold.
        PaintError, ScoreUnavailable, RunStopped: see `models.errors`.
    """
    _go_on(job)
    if job.repaint and _first_try_of_the_run():
        forget(job)
    result = generate(job, _Progress(job), load_signing(Keys()), lambda: _go_on(job), partial(note_turnaround, job))
    place_frame(board, result)
    scores = result.scores
    get_run_logger().info(
        "frame %d %s: image similarity %s, prompt %s, hero %s, seed %d, attempt %d%s",
        job.number,
        "accepted" if result.accepted else f"is weak ({'; '.join(result.chosen.reasons)})",
        "reference" if scores.consistency is None else show_score(scores.consistency),
        show_score(scores.prompt),
        _hero_in_words(scores),
        result.seed,
        result.attempts,
        "" if result.painted else ", taken from the store",
    )
    return result


def _hero_in_words(scores: Scores) -> str:
    """Return how alike the hero is, or why he was not compared."""
    hero, likeness = scores.hero, scores.likeness
    if hero is None:
        return "not looked for"
    if not hero.found:
        return f"not found ({hero.why})"
    own = None if likeness is None else likeness.own
    crop = None if likeness is None else likeness.crop
    return f"{show_score(crop if own is None else own)} alike" if likeness else "found"


class _Progress:
    """Shows a frame's progress in the dashboard from the first step on, and raises RunStopped in a stopped run.

    Requests are sent by another thread, for which neither painting nor the frame's end waits. What is late is left out.
    """

    def __init__(self, job: FrameJob) -> None:
        self.job = job
        self.bar = Bar(f"frame-{job.number}", f"Painting frame {job.number}")
        self.context = copy_context()  # by which Prefect knows the run
        self.reached: float | None = None
        self.sent: float | None = None

    def __call__(self, share: float) -> None:
        """Show the share done, 0..1, in quarters, since each update costs a request."""
        _go_on(self.job)
        if self.reached is None or share - self.reached >= _SHOWN_STEP or share >= 1.0:
            self.reached = 0.0 if self.reached is None and share < 1.0 else share
            send_later(self.context, self._send)

    def _send(self) -> None:
        if self.reached is not None and self.sent != self.reached:
            self.sent = self.reached
            self.bar.move(100 * self.sent)
