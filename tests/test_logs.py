"""A run goes on where nobody reads its log any more, and its last line is the last."""

from __future__ import annotations

import logging
import os
from contextlib import suppress

import pytest
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
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


@pytest.mark.parametrize("queue", [EventsWorker, APILogWorker])
def test_prefects_queues_say_nothing_after_the_last_line(queue: type) -> None:
    prepare_logs()
    assert not logging.getLogger(queue.__name__).isEnabledFor(logging.WARNING)
