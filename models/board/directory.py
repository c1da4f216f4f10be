"""A storyboard's directory.

    outputs/terminal_generation_20251019_052851/
        frame_001.png …          the chosen pictures, exact copies from the store
        scene_breakdown.json     the scenes
        sdxl_prompts.json        the prompts
        report.json              written last
        stopped.txt              instead of the report, after a cancelled or interrupted run

**report.json marks a finished board.** It is written atomically and last, so a directory without it is unfinished:
its run is at work, was stopped or has failed. `stopped.txt` is for people only; no program reads it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from models.errors import CorruptFile, ObjectNotFound
from models.records import FrameResult
from models.storage.files import local_errors, write_atomically

PREFIX = "terminal_generation_"
SCENES_FILE = "scene_breakdown.json"
PROMPTS_FILE = "sdxl_prompts.json"
REPORT_FILE = "report.json"
STOPPED_FILE = "stopped.txt"


def frame_name(number: int) -> str:
    """Return a frame's file name: frame_001.png."""
    return f"frame_{number:03d}.png"


def create_board(output_dir: str | Path, now: datetime | None = None) -> Path:
    """Create a new, empty board directory for one run, and return its path.

    Args:
        output_dir: folder of all boards; created if missing.
        now: the time in the name; None: the local time. Further runs in the same second get _2, _3, …

    Raises:
        StorageError: the folder is not writable, or the disk is full.
    """
    parent = Path(output_dir)
    name = f"{PREFIX}{now or datetime.now():%Y%m%d_%H%M%S}"
    names = itertools.chain([name], (f"{name}_{count}" for count in itertools.count(2)))
    with local_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        return next(parent / name for name in names if _make_exclusively(parent / name))


def _make_exclusively(folder: Path) -> bool:
    """Create the folder and return True, or False if it exists. mkdir is atomic, so only one run gets True."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def place_frame(board: Path, result: FrameResult) -> Path:
    """Copy a frame's chosen picture from the store into the board, and return its path.

    Raises:
        ObjectNotFound: the picture is missing from the store.
        CorruptFile: its sha256 has changed.
        StorageError: it can't be read, or the board can't be written.
    """
    source, target = Path(result.file), board / frame_name(result.number)
    try:
        with local_errors(source):
            data = source.read_bytes()
    except ObjectNotFound:
        raise ObjectNotFound(
            f"frame {result.number}: {source} is missing from the store; run again to paint it"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != result.sha256:
        raise CorruptFile(f"frame {result.number}: {source} has sha256 {found}, expected {result.sha256}")
    write_atomically(target, data)
    return target


def write_json(board: Path, name: str, value: BaseModel | Sequence[BaseModel]) -> Path:
    """Write a record, or a list of records, as indented UTF-8 JSON, and return the file's path.

    Raises:
        StorageError: the board can't be written.
    """
    records = (
        value.model_dump(mode="json") if isinstance(value, BaseModel) else [_.model_dump(mode="json") for _ in value]
    )
    write_atomically(board / name, (json.dumps(records, ensure_ascii=False, indent=2) + "\n").encode())
    return board / name


def is_finished(board: Path) -> bool:
    """Whether this board is finished: its report, which is written last, exists."""
    return (board / REPORT_FILE).is_file()


def note_stop(board: Path, how: str, now: datetime | None = None) -> None:
    """Write stopped.txt, which says why the board is unfinished; does nothing for a finished board.

    Args:
        board: the board's directory.
        how: what happened to its run: "cancelled" or "interrupted".
        now: the time of the stop; None: the local time.

    Raises:
        StorageError: the board can't be written.
    """
    if is_finished(board):
        return
    lines = (
        f"{how} at {now or datetime.now():%Y-%m-%d %H:%M:%S}, before the storyboard was finished",
        "The frames in this folder are finished. Run the same story with the same options again: only the other frames",
        "are painted, and the whole storyboard gets a new directory.",
    )
    write_atomically(board / STOPPED_FILE, "\n".join((*lines, "")).encode())


def forget_stop(board: Path) -> None:
    """Delete stopped.txt, because the board's run continues.

    Raises:
        StorageError: the board can't be written.
    """
    with local_errors(board):
        (board / STOPPED_FILE).unlink(missing_ok=True)
