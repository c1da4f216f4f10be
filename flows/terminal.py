"""Printing for commands: safe for any terminal, whatever a story, a path or an error contains."""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import suppress
from typing import NoReturn, TextIO

from models.secrets.keys import learn_environment
from models.secrets.redaction import redact

USAGE_ERROR, FAILURE, INTERRUPTED = 2, 1, 130
"""Exit codes."""

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that move the cursor, ring the bell, change colours, or change the text direction."""


def printable(text: str) -> str:
    """Return the text with control characters escaped as in Python; line ends and tabs stay."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def say(line: str, stream: TextIO | None = None) -> None:
    """Print a line without secrets, unbuffered, to stdout or the given stream.

    Characters that the stream's encoding lacks are escaped as in Python.

    Raises:
        OSError: the pipe is closed, or the disk is full. Nothing stays buffered that Python would write at its exit.
    """
    where = stream or sys.stdout
    if where is not None:  # as under pythonw
        _write(where, f"{printable(redact(line))}\n".encode(where.encoding or "utf-8", "backslashreplace"))


def say_place(place: str) -> None:
    """Print a path: the exact bytes of its name if stdout is piped, else a line as `say` prints it.

    Raises:
        OSError: as `say`.
    """
    if sys.stdout is None or sys.stdout.isatty():
        say(place)
    else:
        _write(sys.stdout, os.fsencode(place) + b"\n")


def stop(message: str, code: int = USAGE_ERROR) -> NoReturn:
    """Exit with this code and the message as one line on stderr."""
    learn_environment()
    with suppress(OSError):
        say(f"error: {' '.join(message.split())}", sys.stderr)
    raise SystemExit(code)


def _write(stream: TextIO, data: bytes) -> None:
    stream.flush()
    try:
        number = stream.fileno()
    except io.UnsupportedOperation:
        stream.write(data.decode(stream.encoding or "utf-8", "surrogateescape"))
        return
    while data:
        data = data[os.write(number, data) :]


def last_words(log: str) -> str:
    """Return the last error in a process's log, else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(error: |[A-Za-z_][\w.]*(Error|Exception|Exit)\b)", line)]
    return (errors or lines or ["its log is empty"])[-1].removeprefix("error: ")
