"""What the commands of this folder share."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from flows import terminal


def say(line: str) -> str:
    """Print a line at once, also into a pipe."""
    terminal.say(line)
    return line


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """What reads an option that is a whole number."""

    def read(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"write a whole number from {lowest} to {highest}, got {text!r}")
        return int(text)

    return read
