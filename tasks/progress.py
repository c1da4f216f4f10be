"""Progress of long stages: a bar in the dashboard, or log lines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import Context
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.context import SettingsContext, get_settings_context
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from models.board.markdown import escape

logger = logging.getLogger("models.progress")

FULL = 100.0
TRIES_TO_REMOVE = 2
"""Retries for removing a full bar, since no later update could do it."""
_SHOWN_STEP = 2.0
"""Least per cent between two updates of a bar, since each costs a request."""
_SENDER = ThreadPoolExecutor(1, thread_name_prefix="bars")
"""The process ends when it has sent everything."""


def send_later(run: Context, move: Callable[[], None]) -> None:
    """Move a bar in the sender's thread, within this run's context, without waiting for the server."""
    _SENDER.submit(run.run, move)


def wait_for_bars() -> None:
    """Wait until each bar has moved, so that a run that has ended shows none that was still to be removed."""
    _SENDER.submit(int).result()


def hide_bars() -> None:
    """Send no bars from now on: the server has no pages, painting waits for each request, and a full bar is removed."""
    Bar.hidden = True


class Bar:
    """A progress bar in the dashboard, created by the first `move`.

    If the server does not answer, the bar is left unchanged, so that work neither waits nor fails for it. Call it only
    from the task's own thread or by `send_later`, because Prefect knows no run in others.
    """

    hidden = False

    def __init__(self, key: str, title: str) -> None:
        self.key, self.title = key, title
        self.artifact: UUID | None = None

    def move(self, per_cent: float, title: str | None = None) -> None:
        """Show this percentage, 0..100, and a new title, if given. A full bar is removed."""
        self.title = title or self.title
        if self.hidden:
            return
        try:
            with _retries(TRIES_TO_REMOVE if per_cent >= FULL else 0):
                self._send(round(per_cent, 1), title)
        except httpx.HTTPError as error:
            logger.info("%s, %.0f %%: not sent to the server (%s)", self.title, per_cent, type(error).__name__)

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


@contextmanager
def _retries(count: int) -> Iterator[None]:
    """Let Prefect's client repeat a failed request so often.

    `temporary_settings` would read all settings anew for it: 30 ms instead of 0.04, for each move of a bar.
    """
    context = get_settings_context()
    client = context.settings.client.model_copy(update={"max_retries": count})
    with SettingsContext(profile=context.profile, settings=context.settings.model_copy(update={"client": client})):
        yield


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
    """Show a bar during the block; it is full when the block ends without an error."""
    show = Show(key, title)
    yield show
    show(1.0)


class InQuarters:
    """Logs transferred bytes in quarters; may be called from any thread."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.log = get_run_logger()  # taken here, because transfer threads have no run
        self.told = 0

    def __call__(self, done: int, total: int) -> None:
        """Log the bytes transferred so far and the total, once per quarter."""
        quarter = 4 * done // max(total, 1)
        if quarter > self.told:
            self.told = quarter
            self.log.info("%s: %d of %d MB", self.what, done // 10**6, total // 10**6)
