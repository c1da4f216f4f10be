"""Local files: checksums, atomic writes, and checks of their content."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from models.errors import ObjectNotFound, StorageError, WeightsInvalid
from models.storage.recorded_sums import SUMS, recorded_sha256, sha256_once

CALIBRATION = "hero.json"
"""Ending of a character's calibration: this file in the LoRA's folder, or `name.hero.json` beside a single file."""
CALIBRATION_FILES = (CALIBRATION, "hero.png")
"""A calibration and its picture."""
MAX_HEADER = 100 * 2**20
"""The safetensors format's own limit on its header, in bytes."""


def sha256_of(path: Path) -> str:
    """Return the file's sha256 in hexadecimal.

    Raises:
        ObjectNotFound, StorageError: the file does not exist or can't be read.
    """
    with local_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """Return the sha256 over the names and contents of a folder's files, or of one file's content.

    Names that begin with a dot and a calibration are left out: they are no weights, so they paint nothing anew.

    Raises:
        ObjectNotFound, StorageError: the path does not exist, the folder is empty, or a file can't be read.
    """
    names = [name for name in list_names(path) if name not in CALIBRATION_FILES] if path.is_dir() else []
    if path.is_dir() and not names:
        raise ObjectNotFound(f"{path}: the folder holds no files")
    with local_errors(path):
        if not path.is_dir():
            return sha256_once(path)
        parts = (f"{len(name.encode())}:{name}{sha256_once(path / name)}" for name in names)
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def list_names(folder: Path) -> list[str]:
    """Return the sorted names of all files below the folder except hidden ones, relative and with forward slashes."""
    with local_errors(folder):
        names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return sorted(name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))


def write_atomically(path: Path, data: bytes) -> None:
    """Write the file; a reader sees either the old bytes or all new ones.

    Raises:
        StorageError: no space, or no permission; the old file is unchanged.
    """
    with _replacing(path) as file:
        file.write(data)


def copy_atomically(source: Path, target: Path) -> None:
    """Copy the file as `write_atomically` writes one.

    Raises:
        ObjectNotFound, StorageError: no source, no space, or no permission.
    """
    with local_errors(source), source.open("rb") as original, _replacing(target) as file:
        shutil.copyfileobj(original, file, length=2**20)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    with replacing(path) as temporary, temporary.open("xb") as file:
        yield file


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file to write, with the same ending, which replaces the file at the end.

    Raises:
        StorageError: no space, or no permission; the old file is unchanged.
    """
    # The temporary name does not contain the target's, which may already have the greatest length.
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp{path.suffix}")
    with local_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                flush_to_disk(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def why_not_writable(folder: Path) -> str | None:
    """Return why the folder, created if missing, is not writable; None if it is."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"a")
    except OSError as error:
        return (error.strerror or "unknown").lower()
    return None


def flush_to_disk(file: BinaryIO) -> None:
    """Force the bytes onto the disk, before a rename makes them visible."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into one line that names the path and the way out.

    Raises:
        ObjectNotFound: the file does not exist.
        StorageError: any other OSError.
    """
    try:
        yield
    except FileNotFoundError:
        raise ObjectNotFound(f"{path}: no such file or folder") from None
    except OSError as error:
        raise StorageError(f"{path}: {way_out(error)}") from error


def way_out(error: OSError) -> str:
    """Return the error's reason and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "no space left to write it; free some disk, or choose a folder on another one"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "permission denied; check the owner and the mode of the folder, or choose another one"
    return (error.strerror or type(error).__name__).lower()


def check_file(path: Path) -> None:
    """Refuse a file that is empty, of another format (such as a Git LFS pointer), or unlike its recorded sha256.

    Raises:
        WeightsInvalid: the file is refused; the message names it.
        StorageError: it can't be read.
    """
    with local_errors(path), path.open("rb") as file:
        size = path.stat().st_size
        if size == 0:
            raise WeightsInvalid(f"{path}: the file is empty")
        if path.suffix.lower() == ".safetensors":
            _check_safetensors(file, size, path)
            recorded = recorded_sha256(path)
            if recorded is not None and recorded != sha256_once(path):
                raise WeightsInvalid(f"{path}: its bytes are not those that {SUMS} records")
        if path.suffix == ".json":
            _parse_json(file.read(), path)


def _check_safetensors(file: BinaryIO, size: int, path: Path) -> None:
    # The format: eight bytes with the header's length, the header as JSON, then the tensors up to the last offset.
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= min(size - 8, MAX_HEADER):
        raise WeightsInvalid(f"{path}: not a safetensors file; was it fetched by Git LFS?")
    header = _parse_json(file.read(length), path)
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    try:
        end = max((int(entry["data_offsets"][1]) for entry in tensors), default=0)
    except (KeyError, IndexError, TypeError, ValueError):
        raise WeightsInvalid(f"{path}: its safetensors header names no offsets") from None
    if 8 + length + end != size:
        raise WeightsInvalid(f"{path}: {size} bytes long where its header promises {8 + length + end}")


def _parse_json(data: bytes, path: Path) -> dict[str, dict[str, list[int]]]:
    try:
        parsed = json.loads(data)
    except ValueError:
        raise WeightsInvalid(f"{path}: holds no readable JSON where there must be some") from None
    if not isinstance(parsed, dict):
        raise WeightsInvalid(f"{path}: its JSON is no object")
    return parsed
