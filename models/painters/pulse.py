"""Signs of life of a painter's device, by which one that hangs is noticed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from models.painters.painter import Watch


class Pulse:
    """When the device last made a step, while anybody waits for one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting = self.loads = 0
        self.last = 0.0

    def silence(self) -> float:
        """Return the seconds since the last step; 0 while models are loaded, or nobody waits."""
        with self.lock:
            return time.monotonic() - self.last if self.waiting and not self.loads else 0.0

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Mark that models are loaded during the block."""
        with self.lock:
            self.loads += 1
        try:
            yield
        finally:
            with self.lock:
                self.loads -= 1
                self.last = time.monotonic()

    @contextlib.contextmanager
    def watching(self, watch: Watch) -> Iterator[Watch]:
        """Yield a watch that also marks each step."""

        def progress(share: float) -> None:
            self.last = time.monotonic()
            if watch.on_progress is not None:
                watch.on_progress(share)

        with self.lock:
            if not self.waiting:
                self.last = time.monotonic()
            self.waiting += 1
        try:
            yield Watch(progress, watch.go_on)
        finally:
            with self.lock:
                self.waiting -= 1
