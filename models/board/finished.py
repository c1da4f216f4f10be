"""Reads finished boards, refuses incomplete or changed ones, and replaces a board atomically."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from models.board.directory import PROMPTS_FILE, REPORT_FILE, SCENES_FILE, is_finished
from models.board.integrity import TAKES, find_prompt_faults, find_report_faults
from models.board.pages import CONTACT_SHEET
from models.board.report import FrameReport, Report
from models.errors import InputError, StorageError
from models.records import FramePrompt, Record, SceneBreakdown
from models.storage.files import copy_atomically, local_errors, sha256_of

logger = logging.getLogger(__name__)

AGAIN = "make the storyboard again"
T = TypeVar("T")
_PROMPTS = TypeAdapter(tuple[FramePrompt, ...])


class Board(Record):
    """A finished board whose files were just checked against its report."""

    folder: str
    """Absolute path."""
    report: Report
    breakdown: SceneBreakdown
    prompts: tuple[FramePrompt, ...]


def read_board(folder: str | Path) -> Board:
    """Return the finished board in this folder after checking its files and the frames' sha256.

    Raises:
        InputError: it is no board, unfinished, or was changed; the message names the file.
        StorageError: a file can't be read.
    """
    folder = find_folder(folder)
    board = Board(
        folder=str(folder),
        report=_read(folder / REPORT_FILE, TypeAdapter(Report)),
        breakdown=_read(folder / SCENES_FILE, TypeAdapter(SceneBreakdown)),
        prompts=_read(folder / PROMPTS_FILE, _PROMPTS),
    )
    _check(board)
    return board


def find_folder(folder: str | Path) -> Path:
    """Return the absolute path of a finished board's folder.

    Raises:
        InputError: it is no board, or unfinished.
    """
    folder = Path(folder).expanduser().resolve()
    put_back(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; a storyboard's directory or its flow run's id is needed")
    if not is_finished(folder):
        raise InputError(f"{folder}: no finished storyboard, which has a {REPORT_FILE}")
    return folder


def read_painted(folder: Path) -> tuple[Report, tuple[FramePrompt, ...]]:
    """Return report and prompts of the finished board in this folder, without a look at its scenes and pictures.

    Raises:
        InputError: one of the two was changed; the message names the file.
        StorageError: a file can't be read.
    """
    report, prompts = _read(folder / REPORT_FILE, TypeAdapter(Report)), _read(folder / PROMPTS_FILE, _PROMPTS)
    _refuse(folder / REPORT_FILE, find_report_faults(report))
    if len(prompts) != len(report.frames):
        raise InputError(
            f"{folder / PROMPTS_FILE}: has {len(prompts)} frames, the report has {len(report.frames)}; {AGAIN}"
        )
    _refuse(folder / PROMPTS_FILE, find_prompt_faults(prompts, report))
    return report, prompts


def _read(path: Path, kind: TypeAdapter[T]) -> T:
    with local_errors(path):
        data = path.read_bytes()
    try:
        return kind.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: {where}: {first['msg']}; bring the file back, or {AGAIN}") from None


def _check(board: Board) -> None:
    """Refuse a board with missing or changed files."""
    folder, frames = Path(board.folder), board.report.frames
    _refuse(folder / REPORT_FILE, find_report_faults(board.report))
    for name, there in ((PROMPTS_FILE, board.prompts), (SCENES_FILE, board.breakdown.scenes)):
        if len(there) != len(frames):
            raise InputError(f"{folder / name}: has {len(there)} frames, the report has {len(frames)}; {AGAIN}")
    _refuse(folder / PROMPTS_FILE, find_prompt_faults(board.prompts, board.report))
    if not (folder / CONTACT_SHEET).is_file():
        raise InputError(f"{folder}: its {CONTACT_SHEET} is missing; {AGAIN}")
    for frame in frames:
        if sha256_of(folder / frame.file) != frame.sha256:
            raise InputError(f"{folder / frame.file}: changed after it was painted; bring it back, or {AGAIN}")
        _check_takes(frame, folder)


def _refuse(file: Path, faults: Iterator[str]) -> None:
    fault = next(faults, None)
    if fault is not None:
        raise InputError(f"{file}: {fault}; it was changed by hand: bring the file back, or {AGAIN}")


def _check_takes(frame: FrameReport, folder: Path) -> None:
    """Refuse takes that the report does not list, since the next redo would overwrite them; missing takes are fine."""
    known = {folder / take.file: take.sha256 for take in frame.takes}
    for file in sorted((folder / TAKES).glob(f"{Path(frame.file).stem}_take*.png")):
        if known.get(file) != sha256_of(file):
            what = "changed after it was painted" if file in known else "is not listed in the report"
            raise InputError(f"{file}: {what}; restore the files, or move it away")


@contextmanager
def changing(folder: Path) -> Iterator[Path]:
    """Yield a copy of the board to change; it replaces the board at the end, unless an error occurs.

    A lock admits one change at a time, also between processes. The replacement takes two renames; after a kill between
    them `put_back` restores the old board.

    Args:
        folder: the board's absolute path.

    Raises:
        StorageError: the copy can't be written or renamed.
    """
    new, old = _beside(folder, "new"), _beside(folder, "old")
    with local_errors(folder), _held(folder):
        _put_back(folder)
        shutil.rmtree(new, ignore_errors=True)
        try:
            _copy(folder, new)
            yield new
            folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                old.rename(folder)
                raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def reading(folder: str | Path) -> Iterator[Board]:
    """Yield the finished board in this folder, as `read_board` does; nobody changes it until the end.

    Raises:
        InputError: it is no board, unfinished, or was changed; the message names the file.
        StorageError: a file can't be read.
    """
    folder = Path(folder).expanduser().resolve()
    if not is_finished(folder):
        put_back(folder)
    if not is_finished(folder):
        read_board(folder)  # which says why it is none, without leaving a lock beside it
    with local_errors(folder), _held(folder):
        _put_back(folder)
        yield read_board(folder)


def put_back(folder: Path) -> None:
    """Restore the old board after a kill between the renames of `changing`; waits for a change in progress."""
    if _beside(folder, "old").is_dir():
        with local_errors(folder), _held(folder):
            _put_back(folder)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the board's lock, and name this process in a file beside it, for the log of those who wait."""
    lock, holder = FileLock(_beside(folder, "lock")), _beside(folder, "holder")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        logger.warning("waiting for %s, which is being changed by %s", folder, _read_holder(holder))
        lock.acquire()
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%H:%M:%S}", "utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _read_holder(holder: Path) -> str:
    try:
        return holder.read_text("utf-8") or "another process"
    except OSError:
        return "another process"


def _put_back(folder: Path) -> None:
    old = _beside(folder, "old")
    if old.is_dir() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _beside(folder: Path, ending: str) -> Path:
    return folder.with_name(f".{folder.name}.{ending}")


def _copy(folder: Path, new: Path) -> None:
    try:
        shutil.copytree(folder, new, copy_function=lambda source, target: copy_atomically(Path(source), Path(target)))
    except shutil.Error as error:
        raise StorageError(f"{folder}: cannot be copied: {error.args[0][0][2]}") from None
