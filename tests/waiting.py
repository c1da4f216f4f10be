"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE = 240.0
"""Seconds after which a test stops waiting, on a slow machine that does other work too."""

T = TypeVar("T")


def until(what: Callable[[], T | None], within: float = DEADLINE) -> T:
    """The first true value of `what`, which comes within so many seconds."""
    end = time.monotonic() + within
    while not (value := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)
    return value
