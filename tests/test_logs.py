"""A run goes on where nobody reads its log any more."""

from __future__ import annotations

import os
from contextlib import suppress

from rich.console import Console

from flows.logs import prepare_logs


def test_a_console_that_nobody_reads_does_not_end_the_process() -> None:
    prepare_logs()
    reader, writer = os.pipe()
    os.close(reader)
    unread = os.fdopen(writer, "w")
    console = Console(file=unread)
    console.print("a line that nobody takes")
    console.print("and another")
    assert console.quiet
    with suppress(BrokenPipeError):
        unread.close()
