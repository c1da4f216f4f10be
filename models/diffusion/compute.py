"""One thread per device for all torch computation.

On the CPU, every computing thread gets its own OpenMP workers. With more workers than cores, libgomp puts them to sleep
early, so that most operations begin with waking them, and threads that compute at the same time wait for each other.
Six frames of the offline profile take 8.4 s on two cores in one thread, 10.8 s with a thread per frame.

On a GPU, torch caches cuDNN's plans per thread, so a thread per frame would plan attention and convolutions anew for
each frame. Scoring runs in a second thread there, so that it overlaps with painting.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
_LOOK_EVERY = 0.5
"""Seconds between wake-ups of a waiting caller, so that it notices an exception raised in it from outside."""


class _Here(threading.local):
    computes = False
    """Whether this thread is one of the devices' threads."""


_HERE = _Here()
_THREADS: dict[tuple[str, bool], ThreadPoolExecutor] = {}
_LOCK = threading.Lock()


def compute(device: str, work: Callable[[], T], *, beside: bool = False) -> T:
    """Return what `work` returns, run in the device's thread and in this caller's context; its errors are raised here.

    If the caller is stopped, work that has not started is cancelled; started work goes on.

    Args:
        device: cpu, cuda, cuda:N or mps.
        work: the function to run. Its own calls of `compute` run at once in the same thread.
        beside: on a GPU, run it in the second thread.
    """
    if _HERE.computes:
        return work()
    future = _thread(device, beside).submit(contextvars.copy_context().run, work)
    try:
        while not wait([future], _LOOK_EVERY).done:
            pass
    finally:
        future.cancel()  # has no effect on work that has started
    return future.result()


def _thread(device: str, beside: bool) -> ThreadPoolExecutor:
    key = ("cuda:0" if device == "cuda" else device, beside and device != "cpu")
    with _LOCK:
        if key not in _THREADS:
            _THREADS[key] = ThreadPoolExecutor(1, thread_name_prefix="torch", initializer=_computes)
        return _THREADS[key]


def _computes() -> None:
    _HERE.computes = True
