"""Who may try again: one policy for all stages, decided by the error itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from models.errors import StoryboardError

LONGEST_WAIT = 120.0
"""Seconds that a server may ask for; one that wants more is tried again after this, and refuses then."""


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Whether the error of this failed state says that another attempt can help."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StoryboardError) and error.retryable


RETRYING: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [1, 4, 16],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": worth_retrying,
    # Finished work is kept by the store, which also checks that its files are still there.
    "cache_policy": NO_CACHE,
}
"""What every stage's `@task` is given."""


@contextmanager
def patience() -> Iterator[None]:
    """Wait as long as a server asked for before its error counts as a failed attempt."""
    try:
        yield
    except StoryboardError as error:
        if error.retryable and error.retry_after:
            seconds = min(error.retry_after, LONGEST_WAIT)
            get_run_logger().info("asked to wait: trying again in %.0f s", seconds)
            sleep(seconds)
        raise
