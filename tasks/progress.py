"""Progress of long stages: a bar in the dashboard, or quarters in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from models.board.markdown import escape

logger = logging.getLogger("models.progress")

FULL = 100.0
TRIES_TO_REMOVE = 2
"""How often a busy server is asked again to remove a full bar, for which there is no later chance."""
_SHOWN_STEP = 2.0
"""Per cent between two updates of a bar: each costs a request."""


class Bar:
    """A bar in the dashboard, there from the first time that it is moved.

    Where the server does not answer the bar stays as it is: work neither waits for what is only looked at, nor fails
    with it. To be called from the task's own thread: another one is in no run.
    """

    def __init__(self, key: str, title: str) -> None:
        self.key, self.title = key, title
        self.artifact: UUID | None = None

    def move(self, per_cent: float, title: str | None = None) -> None:
        """Show so much, 0..100, and another title if there is one. A full bar tells nothing, and goes."""
        self.title = title or self.title
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: TRIES_TO_REMOVE if per_cent >= FULL else 0}):
                self._send(round(per_cent, 1), title)
        except httpx.HTTPError as error:
            logger.info("%s, %.0f %%: the server could not be told (%s)", self.title, per_cent, type(error).__name__)

    def _send(self, per_cent: float, title: str | None) -> None:
        if per_cent >= FULL:
            self._remove()
        elif self.artifact is None:
            created = create_progress_artifact(progress=per_cent, key=self.key, description=escape(self.title))
            self.artifact = cast(UUID, created)
        else:
            update_progress_artifact(self.artifact, per_cent, description=title and escape(title))

    def _remove(self) -> None:
        if self.artifact is not None:
            with get_client(sync_client=True) as client, suppress(ObjectNotFound):
                client.delete_artifact(self.artifact)
            self.artifact = None


class Show:
    """A bar for a stage, moved in small steps."""

    def __init__(self, key: str, title: str) -> None:
        self.bar = Bar(key, title)
        self.bar.move(0.0)
        self.shown = 0.0

    def __call__(self, share: float) -> None:
        """Show the share done, 0..1."""
        per_cent = 100 * share
        if per_cent - self.shown >= _SHOWN_STEP or (share >= 1.0 and self.shown < 100):
            self.shown = per_cent
            self.bar.move(per_cent)


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
