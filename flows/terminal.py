"""What commands print: safe for any terminal, whatever a story, a path or an error holds."""

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
"""Characters that move the cursor, ring, change colours, or turn the order of letters round."""


def printable(text: str) -> str:
    """The text with control characters written as Python escapes them; line ends and tabs stay."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def say(line: str, stream: TextIO | None = None) -> None:
    """Print a line at once, on stdout unless told, without secrets.

    What the stream's encoding lacks is written as Python escapes it.

    Raises:
        OSError: nobody reads, or the disk is full. Nothing is left over that Python would try to write at its end.
    """
    where = stream or sys.stdout
    if where is not None:  # as under pythonw
        _write(where, f"{printable(redact(line))}\n".encode(where.encoding or "utf-8", "backslashreplace"))


def say_place(place: str) -> None:
    """Print where something lies: to a program as the very bytes of its name, to a person as a line.

    Raises:
        As `say`.
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
    """Why a process ended, by its log: the last error that it names, else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(error: |[A-Za-z_][\w.]*(Error|Exception|Exit)\b)", line)]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("error: ")
