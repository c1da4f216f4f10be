"""Weights from S3, or a server that speaks its protocol: fetched once, checked, kept, not fetched again unchanged.

    cache_dir/<name>-<hash of endpoint, bucket, prefix>/     .lock: one process at a time fetches the same thing
        <hash of names, ETags and sizes>/                    one folder a version, so that a run which still reads
            the files                                        the last one is not disturbed
            .fetched.json                                    sha256 of each file, written when all are there

A fetch that was killed leaves whole files or hidden temporary ones, and the next one goes on from the whole ones.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock

from models.errors import AccessDenied, CorruptFile, CredentialsMissing
from models.progress import ByteProgress
from models.s3.bucket import MANIFEST, Bucket, Counter, Location, ManifestEntry, RemoteFile, parse_location
from models.s3.client import errors_told_apart, make_client
from models.secrets.keys import Keys
from models.storage.files import local_errors, sha256_of, write_atomically

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

RECORD = ".fetched.json"

Choose = Callable[[Iterable[str], str], tuple[str, ...]]
"""Given the names under a prefix and what to call it, those that are wanted; raises when they are not there."""


def fetch(source: str, *, cache_dir: Path, keys: Keys, choose: Choose, progress: ByteProgress | None = None) -> Path:
    """Bring what lies under the address into the cache, unless it is there already, and return its path.

    Args:
        source: `s3://bucket/prefix`: a folder of files, or one key.
        cache_dir: where it is kept.
        keys: credentials and endpoint.
        choose: picks the wanted names before anything is fetched.
        progress: see `storage.fetch_adapter`.

    Returns:
        The folder that holds the wanted files, or the file if the address is one key.

    Raises:
        InputError: the address or the endpoint is malformed.
        WeightsInvalid: the manifest can't be read.
        CorruptFile: the bytes that came do not match their checksum; they are removed.
        StorageError: the other ways to fail, each a subclass: see models/errors.py.
    """
    location = parse_location(source)

    def bring(client: S3Client) -> Path:
        with errors_told_apart(str(location), keys), closing(client):
            return _bring(Bucket(client, location), _home(cache_dir, location, keys), choose, progress)

    with errors_told_apart(str(location), keys):
        client = make_client(keys)
    try:
        return bring(client)
    except CredentialsMissing as refused:
        try:
            path = bring(make_client(keys, unsigned=True))
        except (AccessDenied, CredentialsMissing):
            raise refused from None
    log.warning("%s: read without credentials, as a public bucket: there are none, or they are refused here", location)
    return path


def _bring(bucket: Bucket, home: Path, choose: Choose, progress: ByteProgress | None) -> Path:
    remote = _usable(bucket.list_files(), bucket.location)
    wanted = set(choose([file.name for file in remote], str(bucket.location)))
    files = [file for file in remote if file.name in wanted]
    manifest = next((file for file in remote if file.name == MANIFEST), None)
    folder = home / _version_of([*files, *([manifest] if manifest else [])])
    with local_errors(home):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(home / ".lock"):
            _complete(folder, files, manifest, bucket, progress)
    return folder / files[0].name if files[0].key == bucket.location.prefix else folder


def _usable(files: Iterable[RemoteFile], location: Location) -> list[RemoteFile]:
    """The files whose names can stay in the cache folder; what else lies there is no part of a LoRA."""
    files = list(files)
    leaving = [file.name for file in files if _leaves(file.name)]
    if leaving:
        log.warning(
            "%s: %d keys are ignored that no file here may be called, such as %r", location, len(leaving), leaving[0]
        )
    return [file for file in files if not _leaves(file.name)]


def _leaves(name: str) -> bool:
    """Whether a file of this name would lie outside of its folder, on this system or on another."""
    hostile = {"", ".", ".."} & set(name.split("/"))
    return bool(hostile) or re.search(r"^[A-Za-z]:|[\\\x00-\x1f]", name) is not None  # a drive, or Windows' separator


def _home(cache_dir: Path, location: Location, keys: Keys) -> Path:
    return cache_dir / _name_of(location, keys)


def _name_of(location: Location, keys: Keys) -> str:
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", PurePosixPath(location.prefix).name)[:40]
    return f"{readable}-{_short_hash([keys.aws_endpoint_url, location.bucket, location.prefix])}"


def _version_of(files: Iterable[RemoteFile]) -> str:
    return _short_hash([[file.name, file.etag, file.size] for file in files])


def _short_hash(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _complete(
    folder: Path, files: list[RemoteFile], manifest: RemoteFile | None, bucket: Bucket, progress: ByteProgress | None
) -> None:
    """Fetch those of the files that are not in the folder with the bytes they were fetched with."""
    recorded = _read_record(folder)
    missing = [file for file in files if not _is_intact(folder / file.name, recorded.get(file.name))]
    if not missing:
        return
    promised = bucket.read_manifest(manifest).files if manifest else {}
    counter = Counter(sum(file.size for file in missing), progress)
    for file in missing:
        _fetch_file(file, folder / file.name, promised.get(file.name), bucket, counter)
    hashes = {file.name: sha256_of(folder / file.name) for file in files}
    write_atomically(folder / RECORD, json.dumps(hashes, indent=1).encode())


def _read_record(folder: Path) -> dict[str, str]:
    try:
        record = json.loads((folder / RECORD).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return cast("dict[str, str]", record) if isinstance(record, dict) else {}


def _is_intact(path: Path, sha256: str | None) -> bool:
    return sha256 is not None and path.is_file() and sha256_of(path) == sha256


def _fetch_file(
    file: RemoteFile, target: Path, promised: ManifestEntry | None, bucket: Bucket, counter: Counter
) -> None:
    """Download one file beside its place, check it, and only then put it there."""
    if target.is_file() and bucket.matches(file, target, promised):
        counter.add(file.size)  # left by a fetch that was killed later on
        return
    temporary = target.with_name(f".{target.name}.tmp")
    with local_errors(target):
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            bucket.download(file, temporary, counter)
            if not bucket.matches(file, temporary, promised):
                raise CorruptFile(f"{bucket.location}: {file.name} arrived with another checksum; removed it")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
