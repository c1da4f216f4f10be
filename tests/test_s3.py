"""Weights from a real S3 server over HTTP: what is fetched, checked and kept, and what each failure is told as."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import s3_server
from s3_server import (
    ACCESS_KEY,
    SECRET_KEY,
    Environ,
    S3Server,
    StartResponse,
    adapter,
    change_bytes,
    cut,
    flip,
    key_of,
    tensors,
)

from models.errors import (
    ConnectionFailed,
    CorruptFile,
    WeightsInvalid,
)
from models.records import Adapter
from models.s3.adapters import fetch_adapter
from models.secrets.keys import Keys
from models.storage.files import list_names, sha256_of

MIB = 2**20
COAT = "coat.safetensors"

Fetch = Callable[..., Adapter]

running_server, server = s3_server.running_server, s3_server.server


@pytest.fixture
def bucket(server: S3Server) -> str:
    return server.make_bucket()


@pytest.fixture
def published(server: S3Server, bucket: str) -> str:
    """A LoRA in three folders, named as a person would."""
    server.put(bucket, "aldar/checkpoint-1000", adapter())
    return f"s3://{bucket}/aldar/checkpoint-1000"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def fetch(server: S3Server, cache: Path) -> Fetch:
    def fetch(source: str, keys: Keys | None = None) -> Adapter:
        return fetch_adapter(source, cache_dir=cache, keys=keys or server.keys)

    return fetch


def files_of(found: Adapter) -> dict[str, bytes]:
    return {name: (Path(found.path) / name).read_bytes() for name in list_names(Path(found.path))}


def weights_in(cache: Path) -> list[str]:
    """Everything in the cache besides locks and records, temporary files included."""
    return sorted(
        path.name for path in cache.rglob("*") if path.is_file() and path.name not in (".lock", ".fetched.json")
    )


def manifest_of(files: dict[str, bytes], **changed: str) -> dict[str, bytes]:
    entries = {
        name: {"sha256": changed.get(name, hashlib.sha256(data).hexdigest()), "size": len(data)}
        for name, data in files.items()
    }
    return {"manifest.json": json.dumps({"files": entries}).encode()}


def test_a_folder_is_fetched_whole(server: S3Server, published: str, fetch: Fetch) -> None:
    found = fetch(published + "/")
    assert files_of(found) == adapter()
    assert found.source == published + "/"
    assert fetch(published).fingerprint == found.fingerprint


def test_only_the_adapter_is_fetched(server: S3Server, bucket: str, fetch: Fetch) -> None:
    server.put(bucket, "aldar", {**adapter(), "optimizer.pt": b"a" * 999, "unet_lora/README.md": b"a", "samples/": b""})
    server.put(bucket, "aldar-2", {COAT: tensors()})
    assert files_of(fetch(f"s3://{bucket}/aldar")) == adapter()
    assert len(server.gets()) == 6


def test_one_key_is_one_file(server: S3Server, bucket: str, fetch: Fetch) -> None:
    server.put(bucket, "aldar", {COAT: tensors(), "hat.safetensors": tensors(9)})
    found = fetch(f"s3://{bucket}/aldar/{COAT}")
    assert Path(found.path).read_bytes() == tensors()
    assert found.fingerprint == sha256_of(Path(found.path))
    server.requests.clear()
    assert fetch(f"s3://{bucket}/aldar/{COAT}") == found
    assert not server.gets()


def test_progress_ends_at_the_total(server: S3Server, published: str, cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    fetch_adapter(published, cache_dir=cache, keys=server.keys, progress=lambda done, total: seen.append((done, total)))
    size = sum(map(len, adapter().values()))
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("sizes", [(5, 5, 2), (6, 5, 1), (5, 6, 1)], ids=str)
def test_an_object_sent_in_parts_is_fetched_in_ranges_and_checked(
    server: S3Server, bucket: str, fetch: Fetch, sizes: tuple[int, ...]
) -> None:
    data = tensors(12 * MIB // 4)
    ends = [sum(sizes[:count]) * MIB for count in range(len(sizes))]
    server.put_in_parts(bucket, f"aldar/{COAT}", [data[a:b] for a, b in zip(ends, [*ends[1:], None], strict=True)])
    source = f"s3://{bucket}/aldar/{COAT}"
    server.rule = change_bytes(server, flip)
    with pytest.raises(CorruptFile, match=f"{COAT} arrived with a wrong checksum and was removed"):
        fetch(source)
    server.reset()
    assert Path(fetch(source).path).read_bytes() == data
    assert len(server.gets()) > 1


def test_the_manifest_is_what_counts(server: S3Server, bucket: str, fetch: Fetch, cache: Path) -> None:
    files = adapter()
    server.put(bucket, "good", {**files, **manifest_of(files)})
    assert files_of(fetch(f"s3://{bucket}/good")) == files
    name = "unet_lora/adapter_model.safetensors"
    server.put(bucket, "bad", {name: tensors(), **files, **manifest_of(files, **{name: "0" * 64})})
    with pytest.raises(CorruptFile, match=name) as caught:
        fetch(f"s3://{bucket}/bad")
    assert caught.value.retryable


@pytest.mark.parametrize("manifest", [b"{", b"[]", b'{"files": {"a": {"size": 1}}}', b" " * (MIB + 1)])
def test_a_broken_manifest_is_refused(server: S3Server, bucket: str, fetch: Fetch, manifest: bytes) -> None:
    server.put(bucket, "aldar", {COAT: tensors(), "manifest.json": manifest})
    with pytest.raises(WeightsInvalid, match=r"manifest\.json"):
        fetch(f"s3://{bucket}/aldar")


def test_what_is_unchanged_is_not_fetched_again(server: S3Server, published: str, fetch: Fetch) -> None:
    first = fetch(published)
    server.requests.clear()
    assert fetch(published) == first
    assert len(server.requests) == 1
    assert "list-type" in server.requests[0]


def test_what_changed_is_fetched_and_the_old_version_stays(
    server: S3Server, bucket: str, published: str, fetch: Fetch
) -> None:
    old = fetch(published)
    server.put(bucket, "aldar/checkpoint-1000", {"unet_lora/adapter_model.safetensors": tensors(value=9)})
    new = fetch(published)
    assert files_of(new)["unet_lora/adapter_model.safetensors"] == tensors(value=9)
    assert files_of(old) == adapter()
    assert new.fingerprint != old.fingerprint


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b"a" * path.stat().st_size), Path.unlink])
def test_a_file_that_broke_in_the_cache_is_fetched_again_alone(
    server: S3Server, published: str, fetch: Fetch, harm: Callable[[Path], object]
) -> None:
    name = "unet_lora/adapter_model.safetensors"
    harm(Path(fetch(published).path) / name)
    server.requests.clear()
    assert files_of(fetch(published)) == adapter()
    assert server.gets() == [f"aldar/checkpoint-1000/{name}"]


def test_corrupt_bytes_are_removed(server: S3Server, published: str, fetch: Fetch, cache: Path) -> None:
    server.rule = change_bytes(server, flip)
    with pytest.raises(CorruptFile, match="arrived with a wrong checksum") as caught:
        fetch(published)
    assert caught.value.retryable
    assert weights_in(cache) == []


def test_a_cut_connection_can_be_tried_again(server: S3Server, published: str, fetch: Fetch, cache: Path) -> None:
    server.rule = change_bytes(server, cut)
    with pytest.raises(ConnectionFailed, match="or it was cut") as caught:
        fetch(published)
    assert caught.value.retryable
    assert weights_in(cache) == []
    server.reset()
    assert files_of(fetch(published)) == adapter()


FETCH = """
import sys
from pathlib import Path
from models.errors import StorageError
from models.secrets.keys import Keys
from models.s3.adapters import fetch_adapter
if len(sys.argv) > 3:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    print(fetch_adapter(sys.argv[1], cache_dir=Path(sys.argv[2]), keys=Keys(_env_file=None)).path)
except StorageError as error:
    print(error)
"""


def run_fetch(server: S3Server, *arguments: str) -> subprocess.Popen[str]:
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": server.url}
    command = [sys.executable, "-c", FETCH, *arguments]
    return subprocess.Popen(command, env=os.environ | keys, stdout=subprocess.PIPE, text=True)


def test_a_killed_fetch_is_gone_on_with(server: S3Server, published: str, fetch: Fetch, cache: Path) -> None:
    reached, killed = threading.Event(), threading.Event()

    def hold_the_last(environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
        if environ["REQUEST_METHOD"] == "GET" and key_of(environ).endswith("unet_lora/adapter_model.safetensors"):
            reached.set()
            killed.wait(60)
        return None

    server.rule = hold_the_last
    with run_fetch(server, published, str(cache)) as process:
        assert reached.wait(60)
        process.kill()
    killed.set()
    assert process.returncode < 0
    server.reset()
    assert files_of(fetch(published)) == adapter()
    assert server.gets() == ["aldar/checkpoint-1000/unet_lora/adapter_model.safetensors"]
    assert len(weights_in(cache)) == 6


def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    server: S3Server, bucket: str, fetch: Fetch, cache: Path
) -> None:
    server.put(bucket, "aldar", {COAT: tensors(MIB)})
    with run_fetch(server, f"s3://{bucket}/aldar", str(cache), "100000") as process:
        output = process.communicate()[0]
    assert f"{COAT}: no space left to write it; free some disk" in output
    assert weights_in(cache) == []
    assert Path(fetch(f"s3://{bucket}/aldar").path).read_bytes() == tensors(MIB)


def test_two_at_once_fetch_once(server: S3Server, published: str, fetch: Fetch, cache: Path) -> None:
    with run_fetch(server, published, str(cache)) as other:
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(fetch, [published] * 3))
        output = other.communicate()[0].strip()
    assert {output, *(one.path for one in found)} == {found[0].path}
    assert files_of(found[0]) == adapter()
    assert len(server.gets()) == 6
