"""A command's run: what it needs is looked at while its server starts, an error is its last line, Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from flows.option_parser import FAILURE, INTERRUPTED, stop
from flows.terminal import say, say_place
from models.errors import StoryboardError
from models.secrets.keys import learn_environment
from models.secrets.redaction import install

PATIENCE = 3
"""The Ctrl-C that ends a run which has not ended after the first."""


def run(make: Callable[[], str], to_go_on: str, check: Callable[[], None], *, quiet: bool = True) -> None:
    """Call what makes something and print where it lies as the last line, or exit with the error in one line.

    Args:
        make: imports and runs the flow; returns the location.
        to_go_on: what to do after an interruption.
        check: raises a StoryboardError where the run could not succeed.
        quiet: leave the log's own lines of an error that ends the run to the last line.
    """
    learn_environment()
    install()
    _mind_ctrl_c(to_go_on)
    try:
        place = _made(make, check, quiet)
    except KeyboardInterrupt:
        stop(f"interrupted; {to_go_on}", INTERRUPTED)
    except StoryboardError as error:
        stop(str(error), FAILURE)
    try:
        say_place(place)
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        stop(f"stdout can't be written: {reason}; all was made, and is in {place}", FAILURE)


def _made(make: Callable[[], str], check: Callable[[], None], quiet: bool) -> str:
    from flows.starting import explaining, start  # noqa: PLC0415

    with explaining():
        start(check)
        from flows.logs import leave_errors_to_the_last_line  # noqa: PLC0415

        if quiet:
            leave_errors_to_the_last_line()
        return make()


def _mind_ctrl_c(to_go_on: str) -> None:
    """The first Ctrl-C interrupts the run, which then notes how it ended; the third ends the process at once."""
    if signal.getsignal(signal.SIGINT) != signal.default_int_handler:
        return  # a shell has it ignored for what it runs in the background
    times = 0

    def interrupted(number: int, frame: FrameType | None) -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise KeyboardInterrupt
        if times >= PATIENCE:
            say(f"error: interrupted, and ended at once; {to_go_on}", sys.stderr)
            os._exit(INTERRUPTED)
        say("ending: the run notes how far it came; once more ends it at once", sys.stderr)

    signal.signal(signal.SIGINT, interrupted)
