"""The sha256 that a folder of weights records of its files, in SHA256SUMS, as `sha256sum -c` reads it.

A file's bytes are read once until it changes, as its size, times and inode tell: checks and fingerprints share that.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

SUMS = "SHA256SUMS"
_DEEPEST = 3
"""Folders between the record and the files that it names, at most."""


def sha256_once(path: Path) -> str:
    """The file's sha256 in hexadecimal.

    Raises:
        OSError: it can't be read.
    """
    about = path.stat()
    return _sha256(path, (about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino))


@functools.lru_cache(maxsize=1024)
def _sha256(path: Path, _state: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recorded_sha256(path: Path) -> str | None:
    """What a record in one of the folders above says of this file; None where none names it.

    Raises:
        OSError: the record can't be read.
    """
    for folder in path.parents[:_DEEPEST]:
        if (folder / SUMS).is_file():
            lines = (folder / SUMS).read_text("utf-8", "replace").splitlines()
            told = {name.lstrip(" *"): sha256.lower() for sha256, _, name in (line.partition(" ") for line in lines)}
            return told.get(path.relative_to(folder).as_posix())
    return None


def sums_text(folder: Path, files: Iterable[Path]) -> str:
    """The record of these files of a folder.

    Raises:
        OSError: one can't be read.
    """
    named = sorted((file.relative_to(folder).as_posix(), file) for file in files)
    return "".join(f"{sha256_once(file)}  {name}\n" for name, file in named)
