"""What a file's bytes hash to in S3's terms: ETags and stored checksums, of the whole or by parts.

An object sent in parts has a checksum of its parts' checksums, so that the sizes of the parts are needed to compute
it. CRC32C and CRC64NVME are not in Python's library; CRC64NVME is what the AWS command line and S3 itself store by
default, and, for objects encrypted with a KMS key, often the only checksum there is.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

CHUNK = 8 * 2**20
LANES = 2048
_MIB = 2**20
_USUAL_MIB = (5, 6, 8, 10, 12, 15, 16, 20, 24, 25, 32, 50, 64, 100, 128, 200, 256, 500, 512, 1000, 1024)
"""Sizes of parts that programs are set to: 5 is the least that S3 takes, 8 what AWS's own send."""


class Digest(Protocol):
    """What hashlib's objects do, as far as it is used here."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""

    def digest(self) -> bytes:
        """The checksum of all bytes so far."""


class _Crc32:
    def __init__(self) -> None:
        self._state = 0

    def update(self, data: bytes, /) -> None:
        self._state = zlib.crc32(data, self._state)

    def digest(self) -> bytes:
        return self._state.to_bytes(4, "big")


class _Crc:
    """A reflected CRC that begins and ends with all bits inverted, by tables, many stretches of the data at once.

    Args:
        polynomial: bit-reversed.
        bits: width of the checksum.
    """

    def __init__(self, polynomial: int, bits: int) -> None:
        self._bits = bits
        self._table = _crc_table(polynomial)
        self._state = self._inverted = (1 << bits) - 1

    def update(self, data: bytes, /) -> None:
        head = len(data) % LANES
        for byte in data[:head]:
            self._state = int(self._table[(self._state ^ byte) & 0xFF]) ^ (self._state >> 8)
        if len(data) > head:
            self._take_lanes(np.frombuffer(data, np.uint8, offset=head).reshape(LANES, -1))

    def _take_lanes(self, lanes: npt.NDArray[np.uint8]) -> None:
        # Every lane's CRC is computed from zero, as a CRC is linear: the CRC of two stretches is the first one's,
        # advanced over as many zero bytes as the second one is long, XOR the second one's. What that advance does
        # to each single bit is found on the way, by extra lanes that begin with one bit and see only zeros.
        crcs = np.zeros(LANES + self._bits, np.uint64)
        crcs[0] = self._state
        crcs[LANES:] = np.left_shift(np.uint64(1), np.arange(self._bits, dtype=np.uint64))
        for column in np.ascontiguousarray(lanes.T):
            index = crcs & np.uint64(0xFF)
            index[:LANES] ^= column
            crcs = self._table[index] ^ (crcs >> np.uint64(8))
        advanced_bits = crcs[LANES:].tolist()
        self._state = 0
        for crc in crcs[:LANES].tolist():
            self._state = _advance(self._state, advanced_bits) ^ crc

    def digest(self) -> bytes:
        return (self._state ^ self._inverted).to_bytes(self._bits // 8, "big")


def _advance(state: int, advanced_bits: list[int]) -> int:
    result = 0
    for bit, advanced in enumerate(advanced_bits):
        if state >> bit & 1:
            result ^= advanced
    return result


@functools.cache
def _crc_table(polynomial: int) -> npt.NDArray[np.uint64]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (polynomial if crc & 1 else 0)
        table.append(crc)
    return np.array(table, np.uint64)


def _md5() -> Digest:
    return hashlib.md5(usedforsecurity=False)


ALGORITHMS: dict[str, Callable[[], Digest]] = {
    "SHA256": hashlib.sha256,
    "SHA1": functools.partial(hashlib.sha1, usedforsecurity=False),
    "CRC64NVME": lambda: _Crc(0x9A6C9329AC4BC9B5, 64),
    "CRC32C": lambda: _Crc(0x82F63B78, 32),
    "CRC32": _Crc32,
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
