"""A run's logs and reports: without secrets, own errors in one line, and robust against a closed terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

import httpx
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.events import Event
from prefect.events.clients import EventsClient
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.results import ResultStore
from rich.console import Console

from flows.terminal import printable
from models.errors import StoryboardError
from models.secrets import redaction
from models.secrets.keys import learn_environment

RUN_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
PRINTABLE = "printable"
"""Attribute that marks a factory of `_Printable` records."""
ENGINE_LOGGER = "prefect.engine"
QUEUES = ("EventsWorker", "APILogWorker")
"""Prefect's queues to its server. They would warn about unsent items after the command's last line."""


def _without_traceback(record: logging.LogRecord) -> bool:
    """Drop the traceback of this project's own errors; any other error is a bug and keeps it."""
    if record.exc_info and isinstance(record.exc_info[1], StoryboardError):
        record.exc_info = None
        record.exc_text = None
        record.explained = True
    return True


class _Printable(logging.LogRecord):
    """A log record with control characters escaped, since stories and server answers may contain some."""

    def getMessage(self) -> str:  # noqa: N802
        """Return the message with its arguments."""
        return printable(super().getMessage())


def _printing(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    @wraps(make)
    def make_record(*values: Any, **more: Any) -> logging.LogRecord:
        record = make(*values, **more)
        record.__class__ = _Printable
        return record

    setattr(make_record, PRINTABLE, True)
    return make_record


def _is_told_last(record: logging.LogRecord) -> bool:
    """Whether this line only repeats one of this project's errors that ends a task or the run."""
    if not record.name.startswith(RUN_LOGGERS):
        return False
    text = record.getMessage()
    if text.startswith("Finished in state "):
        own_words = text.startswith("Finished in state Failed(") and "encountered an exception" not in text
        return own_words or _names_own_error(text)
    return record.levelno >= logging.ERROR and hasattr(record, "explained")


def _names_own_error(text: str) -> bool:
    kinds, waiting = {StoryboardError}, [StoryboardError]
    while waiting:
        waiting = [kind for parent in waiting for kind in parent.__subclasses__()]
        kinds.update(waiting)
    return any(kind.__name__ in text for kind in kinds)


def leave_errors_to_the_last_line() -> None:
    """Hide an error in the terminal's log, because the command ends with it; the dashboard still shows it."""
    import prefect.main  # noqa: F401, PLC0415  (creates the handlers)

    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(lambda record: not _is_told_last(record))


def _is_told(record: logging.LogRecord) -> bool:
    """Drop the engine's repetition of an own error that ended the run."""
    own = record.exc_info is not None and isinstance(record.exc_info[1], StoryboardError)
    return not (own and "exited with unexpected exception" in record.getMessage())


def _say_no_more(console: Console) -> None:
    console.quiet = True


def hide_secrets() -> None:
    """Redact secrets in all that this process prints, logs, sends to Prefect's server or stores as a run's error.

    Prefect stores states, logs, artifacts, parameters and events unencrypted. Its server and worker know of a run only
    what this process sends. A run's error is pickled as its result.
    """
    learn_environment()
    redaction.install()
    for client in (PrefectHttpxSyncClient, PrefectHttpxAsyncClient):
        client.send = _filtered(client.send, _redact_request)  # type: ignore[method-assign]
    EventsClient.emit = _filtered(EventsClient.emit, _redact_event)  # type: ignore[method-assign]
    ResultStore.create_result_record = _filtered(  # type: ignore[method-assign]
        ResultStore.create_result_record, _redact_error
    )


def _filtered(method: Callable[..., Any], redact: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return the method with its first argument redacted."""
    if hasattr(method, redaction.REDACTS):
        return method

    @wraps(method)
    def filtered(self: Any, given: Any, *rest: Any, **more: Any) -> Any:
        return method(self, redact(given), *rest, **more)

    setattr(filtered, redaction.REDACTS, True)
    return filtered


def _redact_request(request: httpx.Request) -> httpx.Request:
    text = request.content.decode("utf-8", "surrogateescape")
    clean = redaction.redact(text)
    if clean == text:
        return request
    headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
    content = clean.encode("utf-8", "surrogateescape")
    return httpx.Request(request.method, request.url, headers=headers, content=content, extensions=request.extensions)


def _redact_error(result: Any) -> Any:
    return redaction.without_secrets(result) if isinstance(result, BaseException) else result


def _redact_event(event: Event) -> Event:
    text = event.model_dump_json()
    clean = redaction.redact(text)
    return event if clean == text else Event.model_validate_json(clean)


def prepare_logs() -> None:
    """Set up the logs of all runs in this process, in the terminal and in the dashboard.

    Prefect prints logs with rich, which exits on a broken pipe; without `_say_no_more` a run would die at its next log
    line after its worker was killed.
    """
    hide_secrets()
    if not hasattr(logging.getLogRecordFactory(), PRINTABLE):
        logging.setLogRecordFactory(_printing(logging.getLogRecordFactory()))
    Console.on_broken_pipe = _say_no_more  # type: ignore[assignment, method-assign]
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
    for name in QUEUES:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in (*RUN_LOGGERS, ENGINE_LOGGER):
        logger = logging.getLogger(name)
        for own in (_is_told, _without_traceback):
            if own not in logger.filters:
                logger.addFilter(own)
