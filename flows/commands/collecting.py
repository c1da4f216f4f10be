"""Spares a command what Python's garbage collector costs it: a fifth of its imports, and a second when it ends."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn


@contextmanager
def importing() -> Iterator[None]:
    """Collect nothing during the block, and look at what it made again only when the process ends."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # a library may count what is left at the end, and warn about it


def run_program(main: Callable[[], None]) -> NoReturn:
    """Run a command's main function as the whole program.

    After a success the process ends with its last exit handler: taking thousands of modules apart takes a second.
    """
    succeeded = False

    def end() -> None:
        if succeeded:
            print(end="", flush=True)  # what _exit does not do
            os._exit(0)

    atexit.register(end)  # handlers are called in reverse order
    main()
    succeeded = True
    raise SystemExit
