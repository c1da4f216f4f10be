"""The folders of pictures that a character is calibrated on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from models.calibration.options import CalibrationOptions
from models.errors import InputError, StorageError
from models.lora.data.folder_files import is_picture, list_files
from models.lora.data.pictures import open_picture
from models.records import Record
from models.storage.files import local_errors
from models.vision.calibrating import FEWEST


class Folders(Record):
    """Picture files by side."""

    his: tuple[str, ...]
    others: tuple[str, ...]
    repeated: int
    """Pictures that are left out, because another one has the same pixels."""


def find_pictures(folder: str, options: CalibrationOptions) -> Folders:
    """Return both folders' pictures, each picture once, after all of them were read.

    Raises:
        InputError: a folder is missing, empty or has too few pictures, or a file is broken; one line.
    """
    if options.others is None:
        raise InputError("--others is needed: a folder of other people's pictures")
    his, others = _files(folder, "the folder of his pictures"), _files(options.others, "--others")
    seen: set[str] = set()
    sides: list[tuple[str, ...]] = []
    for files, where in ((his, folder), (others, options.others)):
        different = tuple(_once(files, seen))
        if len(different) < FEWEST:
            raise InputError(
                f"{where}: {len(different)} different pictures, at least {FEWEST} are needed; add pictures"
            )
        sides.append(different)
    return Folders(his=sides[0], others=sides[1], repeated=len(his) + len(others) - sum(map(len, sides)))


def _files(folder: str, what: str) -> list[Path]:
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise InputError(f"{what}: no folder {root}; name the folder that holds the pictures")
    files = [path for name, path in sorted(list_files(root).items()) if is_picture(name)]
    if not files:
        raise InputError(f"{what}: {root} holds no pictures; expected .png, .jpg, .webp and others")
    return files


def _once(files: list[Path], seen: set[str]) -> Iterator[str]:
    """Yield each picture whose pixels no earlier one has."""
    for file in files:
        image = open_picture(file)
        pixels = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
        if pixels not in seen:
            seen.add(pixels)
            yield str(file)


def caption_of(file: Path) -> str:
    """Return the caption beside a picture; "" if it has none."""
    beside = file.with_suffix(".txt")
    try:
        with local_errors(beside):
            return " ".join(beside.read_text(encoding="utf-8-sig").split())
    except (StorageError, UnicodeDecodeError):
        return ""
