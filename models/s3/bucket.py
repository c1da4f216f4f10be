"""Requests about one S3 location: listing, downloading and comparing checksums."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from pydantic import ValidationError
from s3transfer.exceptions import S3DownloadFailedError

from models.errors import InputError, ObjectNotFound, WeightsInvalid
from models.progress import ByteProgress
from models.s3.checksums import ALGORITHMS, etag_of, stored_checksum_of, usual_layouts
from models.s3.client import error_code, status_of
from models.secrets.addresses import without_credentials
from models.storage.adapters import ADAPTER_CONFIG, ADAPTER_FOLDERS, ADAPTER_WEIGHTS, EXPECTED, SINGLE_FILE
from models.storage.files import flush_to_disk, sha256_of
from models.storage.manifests import MANIFEST, Manifest, ManifestEntry

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

MIB = 2**20
KNOWN = (
    *(f"{folder}/{name}" for folder in ADAPTER_FOLDERS for name in (ADAPTER_CONFIG, *ADAPTER_WEIGHTS)),
    SINGLE_FILE,
    MANIFEST,
)
"""Names of a LoRA's files, tried one by one where listing is denied."""
NOT_IMPLEMENTED = 501
# Two attempts for each range, without a pause; further retries are the caller's.
PARALLEL = TransferConfig(
    multipart_threshold=8 * MIB,
    multipart_chunksize=8 * MIB,
    max_concurrency=8,
    num_download_attempts=2,
    preferred_transfer_client="classic",
)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
"""Any valid bucket name, including names with capitals from before 2018."""


@dataclass(frozen=True)
class Location:
    """A prefix (or one key) in a bucket, without slashes around it."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class RemoteFile:
    """An object as a listing describes it."""

    name: str
    """Relative to the prefix."""
    key: str
    etag: str
    size: int


def parse_location(source: str) -> Location:
    """Return the bucket and prefix of an S3 URL; leading white space and a trailing line end are ignored.

    Raises:
        InputError: it is malformed, or names a whole bucket.
    """
    scheme, _, rest = source.lstrip().rstrip("\r\n\t").partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket) or not prefix:
        raise InputError(f"{without_credentials(source)!r} is no S3 address; expected s3://bucket/prefix")
    return Location(bucket, prefix)


class Counter:
    """Sums the bytes that several threads report."""

    def __init__(self, total: int, progress: ByteProgress | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Add this many bytes; the count is negative when a range is fetched again."""
        with self._lock:
            self._done += count
            if self._progress:
                self._progress(self._done, self._total)


class Bucket:
    """The requests about one location."""

    def __init__(self, client: S3Client, location: Location) -> None:
        self._client = client
        self.location = location

    def list_files(self) -> list[RemoteFile]:
        """Return the objects under the prefix, or the object whose key it is."""
        key, refused = self.location.prefix, None
        if key.rstrip().endswith(".safetensors"):
            try:
                return [self._describe(key)]
            except ClientError as error:
                if status_of(error) >= 500:
                    raise
                refused = error  # an answer to HEAD has no body; listing gives the reason
        found = self._list_or_look_for(key + "/")
        if not found and refused and status_of(refused) != 404:
            found = [self._describe(key)] if any(file.key == key for file in self._list_folder(key)) else []
            if not found:
                raise refused
        if not found:
            blank = "" if key == key.strip() else f" {key!r}, which has white space at its end"
            raise ObjectNotFound(f"{self.location}: nothing lies under this prefix{blank}; expected {EXPECTED}")
        return found

    def _list_or_look_for(self, folder: str) -> list[RemoteFile]:
        """Return the folder's objects; where listing is denied, those of KNOWN that exist.

        Public buckets often allow everybody to read but nobody to list; they then also deny absent objects.
        """
        try:
            return _distinct(self._list_folder(folder))
        except ClientError as error:
            if error_code(error) != "AccessDenied":
                raise
            found = [file for name in KNOWN if (file := self._find(folder, name))]
            if not found:
                raise
            return found

    def _find(self, folder: str, name: str) -> RemoteFile | None:
        try:
            return replace(self._describe(folder + name), name=name)
        except ClientError as error:
            if status_of(error) >= 500:
                raise
            return None

    def _describe(self, key: str) -> RemoteFile:
        head = self._client.head_object(Bucket=self.location.bucket, Key=key)
        return RemoteFile(PurePosixPath(key).name.strip(), key, head["ETag"].strip('"'), head["ContentLength"])

    def _list_folder(self, folder: str) -> Iterator[RemoteFile]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.location.bucket, Prefix=folder)
        for page in pages:
            for item in page.get("Contents", []):
                if not item["Key"].endswith("/"):  # consoles create such keys to show an empty folder
                    name = item["Key"].removeprefix(folder)
                    yield RemoteFile(name, item["Key"], item["ETag"].strip('"'), item["Size"])

    def read_manifest(self, file: RemoteFile) -> Manifest:
        """Return the publisher's checksums."""
        if file.size > MIB:
            raise WeightsInvalid(f"{self.location}: {MANIFEST} has {file.size} bytes, at most {MIB} are expected")
        body = self._client.get_object(Bucket=self.location.bucket, Key=file.key)["Body"].read()
        try:
            return Manifest.model_validate_json(body)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the file"
            raise WeightsInvalid(f"{self.location}: {MANIFEST}: {where}: {error.errors()[0]['msg']}") from None

    def download(self, file: RemoteFile, path: Path, counter: Counter) -> None:
        """Download the object in parallel ranges, or with one request if the server refuses its own ETag.

        Each range requires an unchanged ETag, so that all ranges are of the same object. A single request needs no
        such condition; `matches` compares its bytes with the listed object.
        """
        bucket = self.location.bucket
        with path.open("wb") as output:
            try:
                self._client.download_fileobj(bucket, file.key, output, Config=PARALLEL, Callback=counter.add)
            except S3DownloadFailedError:
                reason = "is fetched again in one request: its ETag changed or is refused"
                log.warning("%s: %s %s", self.location, file.name, reason)
                output.seek(0)
                output.truncate()
                for chunk in self._client.get_object(Bucket=bucket, Key=file.key)["Body"].iter_chunks(MIB):
                    output.write(chunk)
            flush_to_disk(output)

    def matches(self, file: RemoteFile, path: Path, promised: ManifestEntry | None) -> bool:
        """Whether the local bytes match the object's manifest entry, ETag or stored checksum."""
        if path.stat().st_size != file.size:
            return False
        if promised:
            return promised.size == file.size and promised.sha256.lower() == sha256_of(path)
        answers = []
        for answer in self._compare(file, path):
            if answer:
                return True
            answers.append(answer)
        if not answers:
            log.warning("%s: %s has no checksum; only its size was compared", self.location, file.name)
        return not answers

    def _compare(self, file: RemoteFile, path: Path) -> Iterator[bool]:
        """Yield for each computable checksum whether it matches, starting with those that need no request."""
        is_whole = re.fullmatch("[0-9a-f]{32}", file.etag) is not None
        if is_whole and etag_of(path) == file.etag:
            yield True
        head = self._client.head_object(Bucket=self.location.bucket, Key=file.key, ChecksumMode="ENABLED")
        if head["ETag"].strip('"') != file.etag:
            yield False  # the object was replaced since the listing
            return
        etag_is_md5 = not head.get("ServerSideEncryption", "").startswith("aws:kms")
        if is_whole and etag_is_md5:
            yield False
        layouts = list(self._part_layouts(file))
        if etag_is_md5:
            yield from (etag_of(path, parts) == file.etag for parts in layouts)
        if etag_is_md5 and not layouts and _has_usual_parts(file, path):
            yield True
        for algorithm, stored in _stored_checksums(head):
            for parts in layouts if "-" in stored else [()]:
                yield stored_checksum_of(path, algorithm, parts) == stored

    def _part_layouts(self, file: RemoteFile) -> Iterator[tuple[int, ...]]:
        """Yield possible sizes of the object's upload parts: first all equal, then as the server reports each.

        Yields nothing where the server does not report parts, as some S3-compatible servers don't.
        """
        count = _parts_in(file.etag)
        first = self._part_size(file, 1) if count else None
        if not first:
            return
        last = file.size - first * (count - 1)
        guess = (first,) * (count - 1) + (last,)
        if 0 < last <= first:
            yield guess
        exact = (first, *(self._part_size(file, number) or 0 for number in range(2, count + 1)))
        if exact != guess and sum(exact) == file.size:  # servers without parts report the whole size for each
            yield exact

    def _part_size(self, file: RemoteFile, number: int) -> int | None:
        """Return the part's size in bytes; None if the server does not support the question."""
        try:
            head = self._client.head_object(Bucket=self.location.bucket, Key=file.key, PartNumber=number)
        except ClientError as error:
            if status_of(error) >= 500 and status_of(error) != NOT_IMPLEMENTED:
                raise
            return None
        return head["ContentLength"]


def _parts_in(etag: str) -> int:
    """Return the number of upload parts by the ETag; 0 for a single upload or another form of ETag."""
    match = re.fullmatch("[0-9a-f]{32}-([0-9]{1,5})", etag)
    return int(match[1]) if match else 0


def _has_usual_parts(file: RemoteFile, path: Path) -> bool:
    """Whether the file, split into parts of a usual size, has the object's ETag. False proves nothing."""
    count = _parts_in(file.etag)
    return count > 0 and any(etag_of(path, parts) == file.etag for parts in usual_layouts(file.size, count))


def _distinct(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return the files with spaces stripped from their names; of two equal names the unstripped one wins."""
    named: dict[str, RemoteFile] = {}
    for file in files:
        name = "/".join(part.strip(" ") for part in file.name.split("/"))
        if name == file.name or name not in named:
            named[name] = replace(file, name=name)
    return list(named.values())


def _stored_checksums(head: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((name, head[f"Checksum{name}"]) for name in ALGORITHMS if f"Checksum{name}" in head)
