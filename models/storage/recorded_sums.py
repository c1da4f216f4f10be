"""The SHA256SUMS file of a folder of weights, in the format of `sha256sum -c`.

A file is hashed again only after its size, times or inode changed; checks and fingerprints share this cache.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

SUMS = "SHA256SUMS"
_DEEPEST = 3
"""Number of parent folders in which a file's SHA256SUMS is looked for."""


def sha256_once(path: Path) -> str:
    """Return the file's sha256 in hexadecimal, from the cache if the file is unchanged.

    Raises:
        OSError: it can't be read.
    """
    about = path.stat()
    return sha256_at(path, (about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino))


@functools.lru_cache(maxsize=1024)
def sha256_at(path: Path, _state: tuple[int, ...]) -> str:
    """Return the sha256 of the file, which is read once in each state: size, times and inode."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recorded_sha256(path: Path) -> str | None:
    """Return the sha256 that the nearest SHA256SUMS above the file records for it; None if there is none.

    Raises:
        OSError: SHA256SUMS can't be read.
    """
    for folder in path.parents[:_DEEPEST]:
        if (folder / SUMS).is_file():
            lines = (folder / SUMS).read_text("utf-8", "replace").splitlines()
            sums = {name.lstrip(" *"): sha256.lower() for sha256, _, name in (line.partition(" ") for line in lines)}
            return sums.get(path.relative_to(folder).as_posix())
    return None


def sums_text(folder: Path, files: Iterable[Path]) -> str:
    """Return the content of a SHA256SUMS file for these files of the folder.

    Raises:
        OSError: a file can't be read.
    """
    named = sorted((file.relative_to(folder).as_posix(), file) for file in files)
    return "".join(f"{sha256_once(file)}  {name}\n" for name, file in named)
