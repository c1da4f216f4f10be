"""Uploads a LoRA to S3 in an order in which no reader takes an incomplete upload for a complete one.

A reader (`models/s3/download.py`) requires every piece (the files of the three adapter folders) and that each matches
`manifest.json`, if that exists. Without any piece it takes a single file. So the order is: one piece, the files that
are no pieces, the other pieces with `unet_lora/adapter_config.json` last, and `manifest.json` at the end.

- If a first publication stops half-way, a piece is missing.
- If a replacement stops half-way, the old manifest does not match the new pieces. Until these are sent the old
  publication still works, because the first piece is a small config that is mostly equal in both.
- If pieces exist without a manifest (uploaded by hand), or these credentials may not look, no old manifest would
  reveal a mixture. Then the new manifest is sent first, which the old pieces do not match.

Nothing is deleted: a file of an older publication that the new one lacks stays, unlisted and unread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from models.errors import InputError
from models.progress import ByteProgress
from models.s3.bucket import PARALLEL, Counter, Location, parse_location
from models.s3.checksums import stored_checksum_of
from models.s3.client import TO_WRITE, errors_told_apart, make_client, status_of
from models.secrets.keys import Keys
from models.storage.adapters import ADAPTER_CONFIG, ADAPTER_FOLDERS
from models.storage.files import local_errors
from models.storage.manifests import EARLIER, MANIFEST

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FIRST_PIECE, LAST_PIECE = f"{ADAPTER_FOLDERS[1]}/{ADAPTER_CONFIG}", f"{ADAPTER_FOLDERS[0]}/{ADAPTER_CONFIG}"
ALGORITHM = "SHA256"


def upload(
    files: Mapping[str, Path], address: str, *, keys: Keys, progress: ByteProgress | None = None, replace: bool = True
) -> None:
    """Upload the files of a publication, except those that are there with the same sha256.

    Large files are sent in parts, several at once; the parts of a failed upload are removed.

    Args:
        files: name below the address -> local file; includes `manifest.json`.
        address: `s3://bucket/prefix`.
        keys: credentials and endpoint.
        progress: called while bytes are sent, from several threads but never from two at once.
        replace: whether other weights at the address may be overwritten.

    Raises:
        InputError: the address or the endpoint is malformed, or other weights are there or can't be ruled out.
        ObjectNotFound: a local file does not exist.
        StorageError: the upload failed; the subclasses tell the cases apart. After a `retryable` one call again.
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
    """Whether weights are under this address; False if these credentials may not look.

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
                f"{location}: these credentials may not check for an earlier publication; --replace writes anyway"
            )
        raise InputError(f"{location}: {EARLIER}")


def in_order(names: Iterable[str], *, manifest_first: bool) -> list[str]:
    """Return the names in upload order; see the module's docstring."""

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
    """Whether pieces exist or may exist while no manifest was seen."""
    return not seen[MANIFEST] and any(found is not None for name, found in seen.items() if _is_piece(name))


def _size(path: Path) -> int:
    with local_errors(path):
        return path.stat().st_size


def _is_same(found: Mapping[str, Any] | None, path: Path) -> bool:
    """Whether the object's stored sha256 is this file's, whole or in parts of this module's size."""
    stored = str(found.get(f"Checksum{ALGORITHM}", "")) if found else ""
    if not found or not stored or found["ContentLength"] != _size(path):
        return False
    in_parts = "-" in stored or "-" in found["ETag"]  # some servers show the number of parts in only one of them
    ours = stored_checksum_of(path, ALGORITHM, _parts(_size(path)) if in_parts else ())
    return ours.partition("-")[0] == stored.partition("-")[0]


def _parts(size: int) -> list[int]:
    """Return the bytes of each part in which a file of this size is sent."""
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
        """Return S3's answer to HEAD: None if the object does not exist, {} if these credentials may not look.

        A refused HEAD has no body with a reason; the PUT that follows gives it.
        """
        try:
            return self._client.head_object(Bucket=self._location.bucket, Key=self._key(name), ChecksumMode="ENABLED")
        except ClientError as error:
            if status_of(error) >= 500:
                raise
            return None if status_of(error) == 404 else {}

    def send(self, name: str, path: Path, counter: Counter) -> None:
        """Send one file with its sha256, which S3 verifies and stores."""
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
