"""Runs a command's flow: checks while the server starts, errors as the last line, and Ctrl-C handling."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pkgutil import resolve_name
from types import FrameType
from typing import Any, NamedTuple

from flows.terminal import FAILURE, INTERRUPTED, say, say_place, stop
from models.errors import StoryboardError
from models.secrets.keys import learn_environment
from models.secrets.redaction import install

PATIENCE = 3
"""Number of Ctrl-C presses that end the process at once."""


class Run(NamedTuple):
    """A command's flow and how to run it."""

    flow: str
    """The flow as `module:name`, imported late because Prefect takes two seconds to import."""
    arguments: tuple[Any, ...]
    to_go_on: str
    """Advice after an interruption."""
    check: Callable[[], None]
    """Raises a StoryboardError if the run can't succeed."""
    is_local: bool = False
    """Whether all models are on this machine, so that no hub request is needed."""
    paints: bool = True
    """Whether the painting libraries are needed; they are imported while the server starts."""
    quiet: bool = True
    """Whether the log omits the error that ends the run, since it is the last line."""


def run(wanted: Run) -> None:
    """Run the flow and print the location that it returns as the last line, or exit with the error in one line."""
    if wanted.is_local:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the first import of the hub's library, which reads it
    learn_environment()
    install()
    _mind_ctrl_c(wanted.to_go_on)
    try:
        place = _location(wanted)
    except KeyboardInterrupt:
        stop(f"interrupted; {wanted.to_go_on}", INTERRUPTED)
    except StoryboardError as error:
        stop(str(error), FAILURE)
    try:
        say_place(place)
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        stop(f"stdout can't be written: {reason}; the run succeeded; see {place}", FAILURE)


def _location(wanted: Run) -> str:
    from flows.commands.server_answers import explaining  # noqa: PLC0415
    from flows.commands.starting import start  # noqa: PLC0415

    with explaining():
        start(wanted.check, paints=wanted.paints)
        from flows.logs import leave_errors_to_the_last_line  # noqa: PLC0415

        if wanted.quiet:
            leave_errors_to_the_last_line()
        return str(resolve_name(wanted.flow)(*wanted.arguments))


def _mind_ctrl_c(to_go_on: str) -> None:
    """Let the first Ctrl-C interrupt the run, which then notes how it ended, and the third end the process at once."""
    if signal.getsignal(signal.SIGINT) != signal.default_int_handler:
        return  # a shell sets it to be ignored for background jobs
    times = 0

    def interrupted(number: int, frame: FrameType | None) -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise KeyboardInterrupt
        if times >= PATIENCE:
            say(f"error: interrupted and ended at once; {to_go_on}", sys.stderr)
            os._exit(INTERRUPTED)
        say("ending: the run notes how far it came; press Ctrl-C once more to end it at once", sys.stderr)

    signal.signal(signal.SIGINT, interrupted)
