"""Downloads weights from S3 or a compatible server into a cache, and checks them.

    cache_dir/<name>-<hash of endpoint, bucket, prefix>/     .lock: one process at a time downloads a location
        <hash of names, ETags and sizes>/                    one folder per version, because another run may still
            the files                                        read the previous one
            .fetched.json                                    sha256 of each file, written after all downloads

A killed download leaves complete files and hidden temporary ones; the next one keeps the complete files.
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
from models.s3.bucket import Bucket, Counter, Location, RemoteFile, parse_location
from models.s3.client import errors_told_apart, make_client
from models.secrets.keys import Keys
from models.storage.files import local_errors, sha256_of, write_atomically
from models.storage.manifests import MANIFEST, ManifestEntry

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

RECORD = ".fetched.json"

Choose = Callable[[Iterable[str], str], tuple[str, ...]]
"""(names under the prefix, its name for messages) -> names to download; raises if some are missing."""


def fetch(source: str, *, cache_dir: Path, keys: Keys, choose: Choose, progress: ByteProgress | None = None) -> Path:
    """Download the files under the address into the cache, unless they are there, and return their path.

    Args:
        source: `s3://bucket/prefix`: a folder of files, or one key.
        cache_dir: the cache folder.
        keys: credentials and endpoint.
        choose: selects the names before any download.
        progress: see `models.s3.adapters.fetch_adapter`.

    Returns:
        The folder of the chosen files, or the file if the address is one key.

    Raises:
        InputError: the address or the endpoint is malformed.
        WeightsInvalid: the manifest can't be read.
        CorruptFile: the downloaded bytes do not match their checksum; they are removed.
        StorageError: other failures, each a subclass: see models/errors.py.
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
    log.warning("%s: read without credentials, as a public bucket: none are set, or they are refused here", location)
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
    """Return the files whose names are safe below the cache folder; no LoRA file has another name."""
    files = list(files)
    leaving = [file.name for file in files if _leaves(file.name)]
    if leaving:
        log.warning(
            "%s: %d keys are ignored that are no safe file names, such as %r", location, len(leaving), leaving[0]
        )
    return [file for file in files if not _leaves(file.name)]


def _leaves(name: str) -> bool:
    """Whether the name would lead outside its folder, on this or another operating system."""
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
    """Download the files that are missing from the folder or changed since their download."""
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
    """Download one file under a temporary name, check it, and only then rename it."""
    if target.is_file() and bucket.matches(file, target, promised):
        counter.add(file.size)  # complete, from a download that was killed later
        return
    temporary = target.with_name(f".{target.name}.tmp")
    with local_errors(target):
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            bucket.download(file, temporary, counter)
            if not bucket.matches(file, temporary, promised):
                raise CorruptFile(f"{bucket.location}: {file.name} arrived with a wrong checksum and was removed")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
