"""Computes S3's checksums of a file: ETags and stored checksums, of the whole file or of its parts.

The checksum of a multipart object is made of its parts' checksums, so the part sizes are needed. CRC64NVME is the
default of the AWS command line and of S3, and often the only checksum of objects encrypted with a KMS key.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from awscrt import checksums

CHUNK = 8 * 2**20
_MIB = 2**20
_USUAL_MIB = (5, 6, 8, 10, 12, 15, 16, 20, 24, 25, 32, 50, 64, 100, 128, 200, 256, 500, 512, 1000, 1024)
"""Common part sizes: 5 is S3's minimum, 8 is the default of AWS's own tools."""


class Digest(Protocol):
    """The part of hashlib's interface that is used here."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def digest(self) -> bytes:
        """Return the checksum of all bytes so far."""


class _Crc:
    """A CRC with hashlib's interface.

    Args:
        update: (bytes, CRC so far) -> CRC with these bytes.
        size: bytes of the checksum.
    """

    def __init__(self, update: Callable[[bytes, int], int], size: int) -> None:
        self._update, self._size, self._state = update, size, 0

    def update(self, data: bytes, /) -> None:
        self._state = self._update(data, self._state)

    def digest(self) -> bytes:
        return self._state.to_bytes(self._size, "big")


def _md5() -> Digest:
    return hashlib.md5(usedforsecurity=False)


ALGORITHMS: dict[str, Callable[[], Digest]] = {
    "SHA256": hashlib.sha256,
    "SHA1": functools.partial(hashlib.sha1, usedforsecurity=False),
    "CRC64NVME": lambda: _Crc(checksums.crc64nvme, 8),
    "CRC32C": lambda: _Crc(checksums.crc32c, 4),
    "CRC32": lambda: _Crc(zlib.crc32, 4),
}
"""S3's names of the checksums that it stores, strongest first."""


def usual_layouts(size: int, count: int) -> list[tuple[int, ...]]:
    """Return likely part sizes of an object: equal multiples of 1 MiB, and the rest as the last part.

    Args:
        size: bytes of the object.
        count: number of its parts, by its ETag.
    """
    if count == 1:
        return [(size,)]
    least = -(-size // (count * _MIB))
    parts = [part * _MIB for part in dict.fromkeys((least, *_USUAL_MIB))]
    fitting = [part for part in parts if 0 < size - part * (count - 1) <= part]
    return [(part,) * (count - 1) + (size - part * (count - 1),) for part in fitting]


def etag_of(path: Path, parts: Sequence[int] = ()) -> str:
    """Return the ETag that S3 gives the file, unless it is encrypted with a KMS key.

    Args:
        path: the file.
        parts: bytes of each upload part; empty for a single upload.
    """
    digest = _digest(path, _md5, parts).hex()
    return f"{digest}-{len(parts)}" if parts else digest


def stored_checksum_of(path: Path, algorithm: str, parts: Sequence[int] = ()) -> str:
    """Return the checksum as S3 stores it: base64, followed by "-" and the number of parts if there are parts."""
    digest = base64.b64encode(_digest(path, ALGORITHMS[algorithm], parts)).decode()
    return f"{digest}-{len(parts)}" if parts else digest


def _digest(path: Path, new: Callable[[], Digest], parts: Sequence[int]) -> bytes:
    with path.open("rb") as file:
        if not parts:
            return _digest_next(file, path.stat().st_size, new)
        total = new()
        for size in parts:
            total.update(_digest_next(file, size, new))
        return total.digest()


def _digest_next(file: BinaryIO, size: int, new: Callable[[], Digest]) -> bytes:
    digest = new()
    while size > 0 and (chunk := file.read(min(CHUNK, size))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()
