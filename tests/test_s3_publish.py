"""Uploads to a real S3 server over HTTP: what a reader finds after each way to stop, and how each failure is told."""

from __future__ import annotations

import base64
import hashlib
import itertools
import secrets
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import s3_server
from s3_server import ACCESS_KEY, Environ, S3Server, StartResponse, adapter, answer_error, key_of, make_keys, tensors
from tiny_publication import stop_after, write_manifest

from models.errors import (
    AccessDenied,
    BucketNotFound,
    ConnectionFailed,
    CorruptFile,
    CredentialsMissing,
    InputError,
    ObjectNotFound,
    StorageError,
    StoryboardError,
)
from models.s3.adapters import fetch_adapter
from models.s3.publish import in_order, upload
from models.storage.files import list_names

MIB = 2**20
FIRST_PIECE, LAST_PIECE = "text_encoder_one_lora/adapter_config.json", "unet_lora/adapter_config.json"

running_server, server = s3_server.running_server, s3_server.server


def publication(folder: Path, value: int = 0, large: Mapping[str, bytes] | None = None) -> dict[str, Path]:
    """A LoRA of three folders with what is told of it; another value, other numbers in every file."""
    told = {"README.md": b"# %d" % value, "aldar.safetensors": tensors(9, value)}
    for name, data in {**adapter(64 + value), **told, **(large or {})}.items():
        path = folder / str(value) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    write_manifest(folder / str(value))
    return {name: folder / str(value) / name for name in list_names(folder / str(value))}


class Place:
    """An empty address on the server: publishers and readers of it."""

    def __init__(self, server: S3Server, caches: Path) -> None:
        self.bucket = server.make_bucket()
        self.prefix = f"{secrets.token_hex(4)}/aldar"  # moto keeps its buckets from one test module to the next
        self.address = f"s3://{self.bucket}/{self.prefix}"
        self._server = server
        self._caches = (caches / f"cache-{number}" for number in itertools.count())
        server.reset()

    def send(self, files: dict[str, Path], **more: Any) -> None:
        upload(files, self.address, **{"keys": self._server.keys, **more})

    def fetch(self) -> dict[str, bytes]:
        """What a reader gets who has fetched nothing before and whom the server answers."""
        self._server.rule = None
        found = Path(fetch_adapter(self.address, cache_dir=next(self._caches), keys=self._server.keys).path)
        return {name: (found / name).read_bytes() for name in list_names(found)}


@pytest.fixture
def place(server: S3Server, tmp_path: Path) -> Place:
    return Place(server, tmp_path)


def pieces(files: dict[str, Path]) -> dict[str, bytes]:
    """The bytes that a reader of these files gets."""
    return {name: path.read_bytes() for name, path in files.items() if name in adapter()}


def puts(server: S3Server) -> list[str]:
    """Names that were sent, in order."""
    return [request.partition("/aldar/")[2] for request in server.requests if request.startswith("PUT")]


def test_what_is_sent_is_what_is_fetched(server: S3Server, place: Place, tmp_path: Path) -> None:
    files = publication(tmp_path)
    place.send(files)
    assert puts(server)[-2:] == [LAST_PIECE, "manifest.json"]
    assert sorted(puts(server)) == sorted(files)
    for name, path in files.items():
        head = server.client.head_object(Bucket=place.bucket, Key=f"{place.prefix}/{name}", ChecksumMode="ENABLED")
        assert base64.b64decode(head["ChecksumSHA256"]) == hashlib.sha256(path.read_bytes()).digest()
    assert place.fetch() == pieces(files)


def test_the_order_of_sending() -> None:
    names = ["manifest.json", "README.md", *adapter(), "z.safetensors"]
    between = sorted(adapter().keys() - {FIRST_PIECE, LAST_PIECE})
    order = [FIRST_PIECE, "README.md", "z.safetensors", *between, LAST_PIECE]
    assert in_order(names, manifest_first=False) == [*order, "manifest.json"]
    assert in_order(names, manifest_first=True) == ["manifest.json", *order]


@pytest.mark.parametrize(
    ("count", "found"), [(0, "nothing lies under"), (1, LAST_PIECE), (3, LAST_PIECE), (7, LAST_PIECE)]
)
def test_a_first_publication_that_stops_is_never_picked_up(
    count: int, found: str, server: S3Server, place: Place, tmp_path: Path
) -> None:
    files = publication(tmp_path)
    server.rule = stop_after(count)
    with pytest.raises(ConnectionFailed) as caught:
        place.send(files)
    assert caught.value.retryable
    with pytest.raises(ObjectNotFound, match=found):
        place.fetch()
    place.send(files)
    assert place.fetch() == pieces(files)


def test_where_only_the_manifest_is_missing_the_pieces_are_whole(
    server: S3Server, place: Place, tmp_path: Path
) -> None:
    files = publication(tmp_path)
    server.rule = stop_after(len(files) - 1)
    with pytest.raises(ConnectionFailed):
        place.send(files)
    assert place.fetch() == pieces(files)


@pytest.mark.parametrize(("count", "readable"), [(0, True), (2, True), (3, False), (5, False)])
def test_a_publication_that_stops_over_an_older_one_is_refused_until_it_is_whole(
    count: int, readable: bool, server: S3Server, place: Place, tmp_path: Path
) -> None:
    """README, the kohya file, three pieces, the manifest: the configs are the same, and not sent again."""
    old, new = publication(tmp_path), publication(tmp_path, 1)
    place.send(old)
    server.rule = stop_after(count)
    with pytest.raises(ConnectionFailed):
        place.send(new)
    if readable:
        assert place.fetch() == pieces(old)
    else:
        with pytest.raises(CorruptFile, match="arrived with a wrong checksum") as caught:
            place.fetch()
        assert caught.value.retryable
    server.requests.clear()
    place.send(new)
    assert len(puts(server)) == 6 - count
    assert place.fetch() == pieces(new)


@pytest.mark.parametrize("count", [1, 4, 6])
@pytest.mark.parametrize("may_look", [True, False])
def test_pieces_without_a_manifest_are_never_mixed_with_new_ones(
    may_look: bool, count: int, server: S3Server, place: Place, tmp_path: Path
) -> None:
    old, new = publication(tmp_path), publication(tmp_path, 1)
    look: s3_server.Rule = (lambda *_: None) if may_look else answer_heads("AccessDenied", 403)
    server.put(place.bucket, place.prefix, pieces(old))
    server.rule = first_of(look, stop_after(count))
    with pytest.raises(ConnectionFailed):
        place.send(new)
    with pytest.raises(CorruptFile):
        place.fetch()
    server.rule = look
    place.send(new)
    assert place.fetch() == pieces(new)


def answer_heads(code: str, status: int) -> s3_server.Rule:
    """A rule that refuses to say what is there."""
    refuse = answer_error(code, status)
    return lambda environ, start: refuse(environ, start) if environ["REQUEST_METHOD"] == "HEAD" else None


def first_of(*rules: s3_server.Rule) -> s3_server.Rule:
    """The first of the rules that answers."""

    def rule(environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
        answers = (rule(environ, start_response) for rule in rules)
        return next((answer for answer in answers if answer is not None), None)

    return rule


def test_a_second_attempt_sends_what_is_missing(server: S3Server, place: Place, tmp_path: Path) -> None:
    files = publication(tmp_path)
    server.rule = stop_after(5)
    with pytest.raises(ConnectionFailed):
        place.send(files)
    sent = puts(server)[:5]
    server.reset()
    place.send(files)
    assert sorted([*puts(server), *sent]) == sorted(files)
    assert place.fetch() == pieces(files)


def test_a_large_file_goes_in_parts_and_is_not_sent_again(server: S3Server, place: Place, tmp_path: Path) -> None:
    name = "unet_lora/adapter_model.safetensors"
    files = publication(tmp_path, large={name: tensors(5 * MIB)})
    seen: list[tuple[int, int]] = []
    place.send(files, progress=lambda done, total: seen.append((done, total)))
    size = sum(path.stat().st_size for path in files.values())
    assert seen[-1] == (size, size)
    assert len([sent for sent in puts(server) if sent == name]) == 3
    assert place.fetch() == pieces(files)
    server.requests.clear()
    place.send(files)
    assert not puts(server)
    files[name].write_bytes(tensors(5 * MIB, value=1))
    place.send(files)
    assert set(puts(server)) == {name}


def test_the_parts_of_a_failed_upload_are_removed(server: S3Server, place: Place, tmp_path: Path) -> None:
    name = "unet_lora/adapter_model.safetensors"
    files = publication(tmp_path, large={name: tensors(5 * MIB)})
    busy = answer_error("SlowDown", 503)
    server.rule = lambda environ, start: busy(environ, start) if "partNumber=3" in environ["QUERY_STRING"] else None
    with pytest.raises(ConnectionFailed):
        place.send(files)
    assert any(request.startswith("POST") for request in server.requests)
    assert not server.client.list_multipart_uploads(Bucket=place.bucket).get("Uploads")


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (("InvalidAccessKeyId", 403), CredentialsMissing, "Run: aws configure"),
        (("ExpiredToken", 400), CredentialsMissing, "Run: aws configure"),
        (("AccessDenied", 403), AccessDenied, "these credentials need s3:PutObject here"),
        (("AllAccessDisabled", 403), AccessDenied, "s3:PutObject"),
        (("NoSuchBucket", 404), BucketNotFound, "check the bucket's name"),
        (("SlowDown", 503), ConnectionFailed, "busy"),
        (("InternalError", 500), ConnectionFailed, "busy"),
        (("RequestTimeout", 400), ConnectionFailed, "busy"),
        (("BadDigest", 400), CorruptFile, "bytes that arrived do not match"),
        (("TooTall", 418), StorageError, "answered TooTall"),
    ],
)
def test_answers_are_told_apart(
    server: S3Server,
    place: Place,
    tmp_path: Path,
    answer: tuple[str, int],
    expected: type[StoryboardError],
    words: str,
) -> None:
    server.rule = answer_error(*answer)
    with pytest.raises(expected, match=words) as caught:
        place.send(publication(tmp_path))
    assert type(caught.value) is expected
    assert caught.value.retryable == (expected in (ConnectionFailed, CorruptFile))
    assert str(caught.value).startswith(place.address)
    assert ACCESS_KEY not in str(caught.value)


def test_a_cut_connection_can_be_tried_again(server: S3Server, place: Place, tmp_path: Path) -> None:
    files = publication(tmp_path)

    def cut(environ: Environ, _: StartResponse) -> Iterable[bytes] | None:
        if environ["REQUEST_METHOD"] != "PUT" or not key_of(environ).endswith(LAST_PIECE):
            return None
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError

    server.rule = cut
    with pytest.raises(ConnectionFailed, match="or it was cut") as caught:
        place.send(files)
    assert caught.value.retryable
    with pytest.raises(ObjectNotFound, match=LAST_PIECE):
        place.fetch()
    place.send(files)
    assert place.fetch() == pieces(files)


def test_a_bucket_or_endpoint_that_is_not_there(server: S3Server, place: Place, tmp_path: Path) -> None:
    files = publication(tmp_path)
    with pytest.raises(BucketNotFound, match=r"s3://steppe-0/aldar: 127\.0\.0\.1:"):
        upload(files, "s3://steppe-0/aldar", keys=server.keys)
    with pytest.raises(InputError, match="expected s3://bucket/prefix"):
        upload(files, "s3://steppe-1", keys=server.keys)
    with pytest.raises(CredentialsMissing, match="NoCredentialsError"):
        place.send(files, keys=make_keys(aws_endpoint_url=server.url))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ConnectionFailed, match=r"no connection to 127\.0\.0\.1:"):
            place.send(files, keys=server.keys.model_copy(update={"aws_endpoint_url": url}))
    files["README.md"].unlink()
    with pytest.raises(ObjectNotFound, match=r"README\.md"):
        place.send(files)
