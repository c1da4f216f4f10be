"""Progress of long stages: a bar in the dashboard, or quarters in the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

_SHOWN_STEP = 2.0
"""Per cent between two updates of a bar: each costs a request."""


class Show:
    """A bar in the dashboard. To be called from the task's own thread: another one is in no run."""

    def __init__(self, key: str, title: str) -> None:
        self.artifact = cast(UUID, create_progress_artifact(progress=0.0, key=key, description=title))
        self.shown = 0.0

    def __call__(self, share: float) -> None:
        """Show the share done, 0..1."""
        per_cent = 100 * share
        if per_cent - self.shown >= _SHOWN_STEP or (share >= 1.0 and self.shown < 100):
            self.shown = per_cent
            update_progress_artifact(self.artifact, round(per_cent, 1))


@contextmanager
def showing(key: str, title: str) -> Iterator[Show]:
    """A bar that is full when the block ends well."""
    show = Show(key, title)
    yield show
    show(1.0)


class InQuarters:
    """Tells of bytes that come or go in quarters, from whichever thread."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.log = get_run_logger()  # a thread that moves bytes is in no run
        self.told = 0

    def __call__(self, done: int, total: int) -> None:
        """Note the bytes that were moved, of all."""
        quarter = 4 * done // max(total, 1)
        if quarter > self.told:
            self.told = quarter
            self.log.info("%s: %d of %d MB", self.what, done // 10**6, total // 10**6)
