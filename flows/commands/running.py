"""A command's run: what it needs is looked at while its server starts, an error is its last line, Ctrl-C ends it."""

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
"""The Ctrl-C that ends a run which has not ended after the first."""


class Run(NamedTuple):
    """A run of a flow that a command asks for."""

    flow: str
    """Where the flow is, as `module:name`. Its module imports Prefect, which takes two seconds."""
    arguments: tuple[Any, ...]
    to_go_on: str
    """What to do after an interruption."""
    check: Callable[[], None]
    """Raises a StoryboardError where the run could not succeed."""
    is_local: bool = False
    """Whether all models are on this machine, so that the hub's library asks nobody."""
    quiet: bool = True
    """Whether the log leaves an error that ends the run to the last line."""


def run(wanted: Run) -> None:
    """Run the flow and print the location that it returns as the last line, or exit with the error in one line."""
    if wanted.is_local:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's library is first imported
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
        stop(f"stdout can't be written: {reason}; all was made, and is in {place}", FAILURE)


def _location(wanted: Run) -> str:
    from flows.commands.server_answers import explaining  # noqa: PLC0415
    from flows.commands.starting import start  # noqa: PLC0415

    with explaining():
        start(wanted.check)
        from flows.logs import leave_errors_to_the_last_line  # noqa: PLC0415

        if wanted.quiet:
            leave_errors_to_the_last_line()
        return str(resolve_name(wanted.flow)(*wanted.arguments))


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
