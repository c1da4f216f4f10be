"""Stopping a thread from outside, as Prefect does with a task that takes too long."""

from __future__ import annotations

import ctypes
import threading


class Stopped(BaseException):
    """What a stopped thread raises."""


def stop(thread: threading.Thread) -> None:
    """Raise `Stopped` in a thread when it next runs Python."""
    assert thread.ident is not None
    told = ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stopped))
    assert told == 1
