"""One thread for all that torch computes on a device, whoever asks.

On the CPU, each thread that computes gets OpenMP workers of its own. Once a process has more of those than cores,
libgomp lets them spin for a moment only before they sleep, and nearly every operation begins with waking them; and two
threads that compute at the same time wait for each other's turns. Six frames of the offline profile take 8.4 s on two
cores in one thread, 10.8 s with a thread for each frame.

On a GPU, torch keeps what cuDNN planned for a shape for the thread that asked. In a thread of its own each frame would
have its attention and its convolutions planned anew. What need not wait for a painting, scoring, has a second thread
there.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
_LOOK_EVERY = 0.5
"""Seconds after which a waiting caller's thread notices an exception that was raised in it from outside."""


class _Here(threading.local):
    """What a thread knows of itself."""

    computes = False


_HERE = _Here()
_THREADS: dict[tuple[str, bool], ThreadPoolExecutor] = {}
_LOCK = threading.Lock()


def compute(device: str, work: Callable[[], T], *, beside: bool = False) -> T:
    """What `work` returns or raises; it runs in the device's thread, in this caller's context.

    A caller that is stopped leaves: its work is not begun any more, but goes on if it was.

    Args:
        device: cpu, cuda, cuda:N or mps.
        work: what to do. If it asks for more, that is done at once, in the same thread.
        beside: on a GPU, do it in the second thread.
    """
    if _HERE.computes:
        return work()
    future = _thread(device, beside).submit(contextvars.copy_context().run, work)
    try:
        while not wait([future], _LOOK_EVERY).done:
            pass
    finally:
        future.cancel()
    return future.result()


def _thread(device: str, beside: bool) -> ThreadPoolExecutor:
    key = ("cuda:0" if device == "cuda" else device, beside and device != "cpu")
    with _LOCK:
        if key not in _THREADS:
            _THREADS[key] = ThreadPoolExecutor(1, thread_name_prefix="torch", initializer=_computes)
        return _THREADS[key]


def _computes() -> None:
    _HERE.computes = True
