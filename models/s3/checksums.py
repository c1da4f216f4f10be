"""What a file's bytes hash to in S3's terms: ETags and stored checksums, of the whole or by parts.

An object sent in parts has a checksum of its parts' checksums, so that the sizes of the parts are needed to compute
it. CRC64NVME is what the AWS command line and S3 itself store by default, and, for objects encrypted with a KMS key,
often the only checksum there is.
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
"""Sizes of parts that programs are set to: 5 is the least that S3 takes, 8 what AWS's own send."""


class Digest(Protocol):
    """What hashlib's objects do, as far as it is used here."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""

    def digest(self) -> bytes:
        """The checksum of all bytes so far."""


class _Crc:
    """A CRC as hashlib's objects are.

    Args:
        update: makes the CRC of bytes and all before them from the bytes and the CRC before them.
        size: of the checksum, in bytes.
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
"""S3's names of the checksums it stores; the strongest first."""


def usual_layouts(size: int, count: int) -> list[tuple[int, ...]]:
    """Sizes of `count` parts that programs send an object of this size in: multiples of 1 MiB, the last one the rest.

    Args:
        size: of the object, in bytes.
        count: of its parts, as its ETag tells.
    """
    if count == 1:
        return [(size,)]
    least = -(-size // (count * _MIB))
    parts = [part * _MIB for part in dict.fromkeys((least, *_USUAL_MIB))]
    fitting = [part for part in parts if 0 < size - part * (count - 1) <= part]
    return [(part,) * (count - 1) + (size - part * (count - 1),) for part in fitting]


def etag_of(path: Path, parts: Sequence[int] = ()) -> str:
    """The ETag that S3 gives the file, unless it is encrypted with a KMS key.

    Args:
        path: the file.
        parts: sizes in bytes of the parts in which it was sent; none when it was sent whole.
    """
    digest = _digest(path, _md5, parts).hex()
    return f"{digest}-{len(parts)}" if parts else digest


def stored_checksum_of(path: Path, algorithm: str, parts: Sequence[int] = ()) -> str:
    """The checksum as S3 stores it: base64, with the number of parts where it is one of the parts' checksums."""
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
