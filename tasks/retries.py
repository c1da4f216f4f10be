"""One retry policy for all stages, based on the error's `retryable` and `retry_after`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from models.errors import StoryboardError

LONGEST_WAIT = 120.0
"""Longest wait in seconds before a retry, even if a server asks for more."""


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Whether the failed state's error is retryable."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, StoryboardError) and error.retryable


RETRYING: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [1, 4, 16],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": worth_retrying,
    # The store keeps finished work, and also checks that its files still exist.
    "cache_policy": NO_CACHE,
}
"""Arguments of every stage's `@task`."""


@contextmanager
def patience() -> Iterator[None]:
    """Wait as long as the server requested, before its error counts as a failed attempt."""
    try:
        yield
    except StoryboardError as error:
        if error.retryable and error.retry_after:
            seconds = min(error.retry_after, LONGEST_WAIT)
            get_run_logger().info("the server asked to wait: trying again in %.0f s", seconds)
            sleep(seconds)
        raise
