"""Logs of a run: an error that explains itself is one line, without the page of calls that led to it."""

from __future__ import annotations

import logging

from models.errors import StoryboardError

RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


def _without_traceback(record: logging.LogRecord) -> bool:
    """Drop the traceback of this project's own errors; any other is a programming error and keeps it."""
    if record.exc_info and isinstance(record.exc_info[1], StoryboardError):
        record.exc_info = None
        record.exc_text = None
    return True


def keep_errors_short() -> None:
    """Apply this to the logs of all runs in this process, in the terminal and in the dashboard."""
    for name in RUN_LOGGERS:
        logger = logging.getLogger(name)
        if _without_traceback not in logger.filters:
            logger.addFilter(_without_traceback)
