"""Frames redone on the tiny models, and what is then on the board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flow_runs import Ran, Stage

from flows.redo_frame import redo_frame
from models.board.report import Report
from models.errors import InputError, StorageError
from models.redo.plan import RedoOptions

WORDS = "aldar_kose_man is riding a camel, in the steppe, at sunset"


def redo(board: Path | str, frame: int, **wanted: Any) -> Ran:
    """Redo a frame of this board."""
    state = redo_frame(str(board), frame, RedoOptions(**wanted), return_state=True)
    return Ran(state, Path(board).parent)


def refused(ran: Ran) -> str:
    """The one line with which the flow failed."""
    error = ran.state.result(raise_on_failure=False)
    assert ran.state.is_failed()
    assert isinstance(error, InputError | StorageError), error
    assert "\n" not in str(error)
    return str(error)


def files(board: Path) -> dict[str, bytes]:
    return {path.relative_to(board).as_posix(): path.read_bytes() for path in board.rglob("*") if path.is_file()}


def report_of(board: Path) -> Report:
    return Report.model_validate_json((board / "report.json").read_bytes())


@pytest.fixture
def board(stage: Stage, told: Ran) -> Path:
    """A copy of the finished board of six frames, with its store."""
    stage.begin_with(told)
    (own,) = stage.boards()
    return own
