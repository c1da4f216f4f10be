"""Handles a run that is stopped from outside: stops its frames, and writes stopped.txt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.runtime import flow_run

from models.board.directory import note_stop
from models.errors import StorageError
from tasks.frames import stop_painting


@contextmanager
def stopping(run: str) -> Iterator[None]:
    """Stop the frames too after Ctrl-C or a cancellation, because Prefect would wait until all are painted."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        stop_painting(run)
        raise


@contextmanager
def telling(board: Path) -> Iterator[None]:
    """Note in the board that the run was cancelled or interrupted; a run suspended for a review is neither."""
    try:
        yield
    except (KeyboardInterrupt, TerminationSignal) as error:
        with suppress(StorageError):  # the reason of the stop must not be hidden by this error
            note_stop(board, "interrupted")  # before asking the server, which may be gone
            if isinstance(error, TerminationSignal) and _is_cancelled():
                note_stop(board, "cancelled")
        raise


def _is_cancelled() -> bool:
    """Whether the run or its parent was cancelled; a worker that ends sends the same signal."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run.root_flow_run_id).state
    except (httpx.HTTPError, PrefectException):
        return False
    return state is not None and state.is_cancelling()
