"""What a run leaves when it is stopped from outside: no frame that goes on, and a word in its directory."""

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
    """After Ctrl-C or a cancellation let the frames stop too: Prefect would wait until all of them are painted."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        stop_painting(run)
        raise


@contextmanager
def telling(board: Path) -> Iterator[None]:
    """Note in the board that the run was cancelled or interrupted. One that ends to wait for a person was not."""
    try:
        yield
    except (KeyboardInterrupt, TerminationSignal) as error:
        with suppress(StorageError):  # what stopped the run is what is told
            note_stop(board, "interrupted")  # first: the server may be gone, and the process has little time
            if isinstance(error, TerminationSignal) and _is_cancelled():
                note_stop(board, "cancelled")
        raise


def _is_cancelled() -> bool:
    """Whether the run, or the one that it belongs to, was cancelled by a person: a worker's end is the same signal."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run.root_flow_run_id).state
    except (httpx.HTTPError, PrefectException):
        return False
    return state is not None and state.is_cancelling()
