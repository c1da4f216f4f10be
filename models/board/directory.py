"""A storyboard's directory.

    outputs/terminal_generation_20251019_052851/
        frame_001.png …          the chosen pictures, byte for byte as they lie in the store
        scene_breakdown.json     the scenes
        sdxl_prompts.json        the prompts
        report.json              written last
        stopped.txt              instead of the report, where a run was cancelled or interrupted

**report.json is the mark of a finished board.** It appears whole and after everything else, so a directory without it
is one that is being made, was stopped or failed. `stopped.txt` says so to people; no program goes by it.
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
    """File name of a frame: frame_001.png."""
    return f"frame_{number:03d}.png"


def create_board(output_dir: str | Path, now: datetime | None = None) -> Path:
    """Make a new, empty board directory that no other run shares.

    Args:
        output_dir: folder of all boards; made if it is not there.
        now: the time in its name; the local time if None. Later runs of one second get _2, _3, …

    Raises:
        StorageError: the folder may not be written, or the disk is full.
    """
    parent = Path(output_dir)
    name = f"{PREFIX}{now or datetime.now():%Y%m%d_%H%M%S}"
    names = itertools.chain([name], (f"{name}_{count}" for count in itertools.count(2)))
    with local_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        return next(parent / name for name in names if _make_exclusively(parent / name))


def _make_exclusively(folder: Path) -> bool:
    """Make the folder; False if it was there. mkdir itself decides, so two runs cannot both get True."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def place_frame(board: Path, result: FrameResult) -> Path:
    """Copy a frame's chosen picture from the store into the board, byte for byte.

    Raises:
        ObjectNotFound: the picture is gone from the store.
        CorruptFile: its bytes are not those that were painted.
        StorageError: it cannot be read, or the board cannot be written.
    """
    source, target = Path(result.file), board / frame_name(result.number)
    try:
        with local_errors(source):
            data = source.read_bytes()
    except ObjectNotFound:
        raise ObjectNotFound(f"frame {result.number}: {source} is gone from the store; run again to paint it") from None
    found = hashlib.sha256(data).hexdigest()
    if found != result.sha256:
        raise CorruptFile(f"frame {result.number}: {source} has sha256 {found}, painted was {result.sha256}")
    write_atomically(target, data)
    return target


def write_json(board: Path, name: str, value: BaseModel | Sequence[BaseModel]) -> Path:
    """Write a record, or a list of records, as JSON that people can read (UTF-8, indented).

    Raises:
        StorageError: the board cannot be written.
    """
    records = (
        value.model_dump(mode="json") if isinstance(value, BaseModel) else [_.model_dump(mode="json") for _ in value]
    )
    write_atomically(board / name, (json.dumps(records, ensure_ascii=False, indent=2) + "\n").encode())
    return board / name


def is_finished(board: Path) -> bool:
    """Whether this board is complete: its report, which is written last, is there."""
    return (board / REPORT_FILE).is_file()


def note_stop(board: Path, how: str, now: datetime | None = None) -> None:
    """Tell people who find this unfinished board why it is unfinished.

    Args:
        board: a board; one that is finished is left as it is.
        how: what was done to its run: "cancelled", "interrupted".
        now: when; the local time if None.

    Raises:
        StorageError: the board cannot be written.
    """
    if is_finished(board):
        return
    lines = (
        f"{how} at {now or datetime.now():%Y-%m-%d %H:%M:%S}, before the storyboard was finished",
        "The frames that are here are finished. Run the same story with the same options again: only the others are",
        "painted, and the whole storyboard gets a directory of its own.",
    )
    write_atomically(board / STOPPED_FILE, "\n".join((*lines, "")).encode())


def forget_stop(board: Path) -> None:
    """The board's run goes on.

    Raises:
        StorageError: the board cannot be written.
    """
    with local_errors(board):
        (board / STOPPED_FILE).unlink(missing_ok=True)
