"""Logs of a run: an error that explains itself is one line, and a run does not end because nobody reads them."""

from __future__ import annotations

import logging

from rich.console import Console

from models.errors import StoryboardError

RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


def _without_traceback(record: logging.LogRecord) -> bool:
    """Drop the traceback of this project's own errors; any other is a programming error and keeps it."""
    if record.exc_info and isinstance(record.exc_info[1], StoryboardError):
        record.exc_info = None
        record.exc_text = None
    return True


def _say_no_more(console: Console) -> None:
    console.quiet = True


def prepare_logs() -> None:
    """Apply this to all runs in this process: to their logs in the terminal and in the dashboard.

    Prefect prints a run's log with rich, which ends the process at the first line that nobody takes: a run whose worker
    was killed would die of its next one.
    """
    Console.on_broken_pipe = _say_no_more  # type: ignore[assignment, method-assign]
    for name in RUN_LOGGERS:
        logger = logging.getLogger(name)
        if _without_traceback not in logger.filters:
            logger.addFilter(_without_traceback)
