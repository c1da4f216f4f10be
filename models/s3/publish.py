"""Files to S3, in an order that never lets a reader take half of them for the whole.

A reader (`models/s3/download.py`) wants every piece of the LoRA, and each to match `manifest.json` where there is one.
Where not even a piece is there it takes a single file. So one piece goes first, then what is no piece, then the other
pieces, `unet_lora/adapter_config.json` as the last of them, and `manifest.json` at the end:

- A first publication that stops half-way lacks a piece.
- One that replaces another stops with the old manifest in place, whose checksums the new pieces do not match. Before
  their turn the old one can still be used: the first piece is a small config, mostly the same in both.
- Where pieces lie without a manifest (put there by hand), or these credentials may not look, nothing would contradict
  a mixture. There the new manifest goes first: the old pieces do not match it.

Nothing is removed: a file of an older publication that the new one lacks stays, unlisted and unread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from models.errors import InputError
from models.progress import ByteProgress
from models.s3.bucket import MANIFEST, PARALLEL, Counter, Location, parse_location
from models.s3.checksums import stored_checksum_of
from models.s3.client import TO_WRITE, errors_told_apart, make_client, status_of
from models.secrets.keys import Keys
from models.storage.adapters import ADAPTER_CONFIG, ADAPTER_FOLDERS
from models.storage.files import local_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FIRST_PIECE, LAST_PIECE = f"{ADAPTER_FOLDERS[1]}/{ADAPTER_CONFIG}", f"{ADAPTER_FOLDERS[0]}/{ADAPTER_CONFIG}"
ALGORITHM = "SHA256"


def upload(
    files: Mapping[str, Path], address: str, *, keys: Keys, progress: ByteProgress | None = None, replace: bool = True
) -> None:
    """Send the files of a publication; one that is there already with the same sha256 is not sent again.

    Large files go in parts, several at once; parts of an upload that failed are removed.

    Args:
        files: name below the address -> file here; `manifest.json` is one of them.
        address: `s3://bucket/prefix`.
        keys: credentials and endpoint.
        progress: called while bytes leave, from several threads but never from two at once.
        replace: whether other weights that lie there may be overwritten.

    Raises:
        InputError: the address or the endpoint is malformed, or other weights lie there, or may.
        ObjectNotFound: a file is not here.
        StorageError: the upload failed; its subclasses say how. A `retryable` one can simply be called again.
    """
    location = parse_location(address)
    with errors_told_apart(str(location), keys, TO_WRITE), closing(make_client(keys)) as client:
        prefix = _Prefix(client, location)
        seen = {name: prefix.look(name) for name in files}
        if not replace:
            _refuse_other_weights(location, files, seen)
        counter = Counter(sum(_size(path) for path in files.values()), progress)
        for name in in_order(files, manifest_first=_lie_without_manifest(seen)):
            if _is_same(seen[name], files[name]):
                counter.add(_size(files[name]))
            else:
                prefix.send(name, files[name], counter)


def holds_weights(address: str, keys: Keys) -> bool:
    """Whether weights lie under this address, as far as these credentials may look.

    Raises:
        InputError, StorageError: see `upload`.
    """
    location = parse_location(address)
    with errors_told_apart(str(location), keys, TO_WRITE), closing(make_client(keys)) as client:
        return bool(_Prefix(client, location).look(LAST_PIECE))


def _refuse_other_weights(
    location: Location, files: Mapping[str, Path], seen: Mapping[str, Mapping[str, Any] | None]
) -> None:
    for name in filter(_is_piece, files):
        found = seen[name]
        if found is None or _is_same(found, files[name]):
            continue
        if not found:
            raise InputError(
                f"{location}: these credentials may not look whether a publication is there; --replace writes unseen"
            )
        raise InputError(
            f"{location}: an earlier publication is there; choose another --name, or let this one take its place with "
            "--replace"
        )


def in_order(names: Iterable[str], *, manifest_first: bool) -> list[str]:
    """The names as they are to be sent; see the module's docstring."""

    def place(name: str) -> int:
        if name == MANIFEST:
            return 0 if manifest_first else 5
        if name in (FIRST_PIECE, LAST_PIECE):
            return 1 if name == FIRST_PIECE else 4
        return 3 if _is_piece(name) else 2

    return sorted(sorted(names), key=place)


def _is_piece(name: str) -> bool:
    return name.partition("/")[0] in ADAPTER_FOLDERS


def _lie_without_manifest(seen: Mapping[str, Mapping[str, Any] | None]) -> bool:
    """Whether pieces of a LoRA lie there, or may, and no manifest was seen."""
    return not seen[MANIFEST] and any(found is not None for name, found in seen.items() if _is_piece(name))


def _size(path: Path) -> int:
    with local_errors(path):
        return path.stat().st_size


def _is_same(found: Mapping[str, Any] | None, path: Path) -> bool:
    """Whether S3 stores the sha256 that this file has, sent whole or in parts of the size used here."""
    stored = str(found.get(f"Checksum{ALGORITHM}", "")) if found else ""
    if not found or not stored or found["ContentLength"] != _size(path):
        return False
    in_parts = "-" in stored or "-" in found["ETag"]  # not every server says the number of parts in both
    ours = stored_checksum_of(path, ALGORITHM, _parts(_size(path)) if in_parts else ())
    return ours.partition("-")[0] == stored.partition("-")[0]


def _parts(size: int) -> list[int]:
    """Sizes in bytes of the parts that a file of this size is sent in."""
    part = PARALLEL.multipart_chunksize
    return [min(part, size - start) for start in range(0, size, part)]


class _Prefix:
    """The requests about one address."""

    def __init__(self, client: S3Client, location: Location) -> None:
        self._client = client
        self._location = location

    def _key(self, name: str) -> str:
        return f"{self._location.prefix}/{name}"

    def look(self, name: str) -> Mapping[str, Any] | None:
        """What S3 says of an object: None where there is none, nothing where these credentials may not look.

        The answer to a HEAD has no body to say why it was refused, so that is left to the PUT that follows.
        """
        try:
            return self._client.head_object(Bucket=self._location.bucket, Key=self._key(name), ChecksumMode="ENABLED")
        except ClientError as error:
            if status_of(error) >= 500:
                raise
            return None if status_of(error) == 404 else {}

    def send(self, name: str, path: Path, counter: Counter) -> None:
        """Send one file with its sha256, which S3 compares and keeps."""
        with local_errors(path):
            file = path.open("rb")
        with file:
            self._client.upload_fileobj(
                file,
                self._location.bucket,
                self._key(name),
                ExtraArgs={"ChecksumAlgorithm": ALGORITHM},
                Callback=counter.add,
                Config=PARALLEL,
            )
