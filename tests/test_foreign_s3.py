"""Buckets of strangers: servers that know no parts, public buckets, capitals, white space, and what else lies there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import s3_server
from s3_server import COAT, Environ, Fetch, S3Server, StartResponse, adapter, answer_error, flip, make_keys, tensors

from models.errors import AccessDenied, BucketNotFound, CorruptFile, CredentialsMissing, ObjectNotFound, StorageError
from models.s3.checksums import usual_layouts
from models.storage.files import list_names

MIB = 2**20

running_server, server, fetch = s3_server.running_server, s3_server.server, s3_server.fetch


@pytest.fixture
def bucket(server: S3Server) -> str:
    return server.make_bucket()


def test_unrelated_keys_are_left_where_they_are(server: S3Server, fetch: Fetch, bucket: str) -> None:
    server.put(
        bucket, "aldar", adapter() | {"notes//a.txt": b"x", "b\\c.txt": b"x", "D:e": b"x", "samples/f.png": b"x"}
    )
    found = fetch(f"s3://{bucket}/aldar")
    assert set(list_names(Path(found.path))) == set(adapter())


# --- servers that know no parts


def in_parts(server: S3Server, bucket: str, part: int, size: int = 6 * MIB) -> bytes:
    """An object of `size` bytes and its header, sent in parts of `part` bytes."""
    data = tensors(size // 4)
    server.put_in_parts(bucket, f"aldar/{COAT}", [data[start : start + part] for start in range(0, len(data), part)])
    return data


@pytest.mark.parametrize("status", [501, 400])
def test_where_a_server_knows_no_parts_usual_sizes_are_tried(
    server: S3Server, fetch: Fetch, bucket: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = in_parts(server, bucket, 5 * MIB)
    server.rule = s3_server.knowing_no_parts(status)
    assert Path(fetch(f"s3://{bucket}/aldar").path).read_bytes() == data
    assert caplog.text == ""


def test_where_no_usual_size_fits_the_size_is_compared_and_that_is_said(
    server: S3Server, fetch: Fetch, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = in_parts(server, bucket, 5 * MIB + 5)
    server.rule = s3_server.knowing_no_parts(501)
    assert Path(fetch(f"s3://{bucket}/aldar/{COAT}").path).read_bytes() == data
    assert f"{COAT} has no checksum; only its size was compared" in caplog.text


def test_a_server_that_fails_when_asked_for_parts_can_be_asked_again(
    server: S3Server, fetch: Fetch, bucket: str
) -> None:
    in_parts(server, bucket, 5 * MIB)
    server.rule = s3_server.knowing_no_parts(503)
    with pytest.raises(StorageError) as caught:
        fetch(f"s3://{bucket}/aldar")
    assert caught.value.retryable


def test_damage_to_an_object_sent_whole_is_still_seen(server: S3Server, fetch: Fetch, bucket: str) -> None:
    server.put(bucket, "aldar", {COAT: tensors()})
    damaged, no_parts = s3_server.change_bytes(server, flip), s3_server.knowing_no_parts(501)
    server.rule = lambda environ, start: no_parts(environ, start) or damaged(environ, start)
    with pytest.raises(CorruptFile):
        fetch(f"s3://{bucket}/aldar")


@pytest.mark.parametrize(
    ("size", "count", "layouts"),
    [
        (7, 1, {(7,)}),
        (12 * MIB, 2, {(6 * MIB, 6 * MIB), (8 * MIB, 4 * MIB), (10 * MIB, 2 * MIB)}),
        (16 * MIB + 1, 3, {(6 * MIB, 6 * MIB, 4 * MIB + 1), (8 * MIB, 8 * MIB, 1)}),
        (100, 5, set()),
    ],
)
def test_usual_layouts_come_to_the_size(size: int, count: int, layouts: set[tuple[int, ...]]) -> None:
    assert set(usual_layouts(size, count)) == layouts


# --- public buckets


@pytest.fixture
def public(server: S3Server, bucket: str) -> str:
    """A LoRA that everybody may read."""
    server.client.put_bucket_acl(Bucket=bucket, ACL="public-read")
    server.put(bucket, "aldar", adapter(), ACL="public-read")
    return f"s3://{bucket}/aldar"


@pytest.mark.parametrize("given", [True, False])
def test_a_public_bucket_needs_no_credentials(
    server: S3Server, fetch: Fetch, public: str, given: bool, caplog: pytest.LogCaptureFixture
) -> None:
    server.rule = s3_server.refusing_signatures()
    found = fetch(public, server.keys if given else make_keys(aws_endpoint_url=server.url))
    assert set(list_names(Path(found.path))) == set(adapter())
    assert "read without credentials, as a public bucket" in caplog.text


def test_a_bucket_that_is_not_public_tells_the_first_refusal(server: S3Server, fetch: Fetch, bucket: str) -> None:
    server.put(bucket, "aldar", adapter())
    with pytest.raises(CredentialsMissing, match="NoCredentialsError"):
        fetch(f"s3://{bucket}/aldar", make_keys(aws_endpoint_url=server.url))
    server.rule = s3_server.refusing_signatures("ExpiredToken")
    with pytest.raises(CredentialsMissing, match="answered ExpiredToken"):
        fetch(f"s3://{bucket}/aldar")


@pytest.mark.parametrize(
    "files", [adapter(), adapter(name="adapter_model.bin"), {"pytorch_lora_weights.safetensors": tensors()}]
)
def test_where_nothing_may_be_listed_a_loras_own_names_are_looked_for(
    server: S3Server, fetch: Fetch, bucket: str, files: dict[str, bytes]
) -> None:
    server.put(bucket, "aldar", files)
    server.rule = s3_server.listing_nothing()
    found = Path(fetch(f"s3://{bucket}/aldar").path)
    assert {name: (found / name).read_bytes() for name in list_names(found)} == files or found.is_file()
    with pytest.raises(AccessDenied, match="s3:ListBucket"):
        fetch(f"s3://{bucket}/other")


def test_a_wrong_name_in_a_public_bucket_is_told(server: S3Server, fetch: Fetch, public: str) -> None:
    with pytest.raises(ObjectNotFound, match="nothing lies under this prefix"):
        fetch(f"{public}-gone", make_keys(aws_endpoint_url=server.url))


# --- names


def test_capitals_in_a_buckets_name_are_the_servers_to_judge(server: S3Server, fetch: Fetch) -> None:
    with pytest.raises(BucketNotFound, match=r"^s3://Hero_Art/aldar: 127\.0\.0\.1:\d+ answered NoSuchBucket"):
        fetch("s3://Hero_Art/aldar")
    server.rule = answer_error("InvalidBucketName", 400)
    with pytest.raises(BucketNotFound, match="the server does not accept this bucket name; check it"):
        fetch("s3://Hero_Art/aldar")


def test_white_space_around_an_address_and_around_keys(server: S3Server, fetch: Fetch, bucket: str) -> None:
    server.put(bucket, "aldar ", {f"{COAT} ": tensors()})
    for address in (f"  s3://{bucket}/aldar \r\n", f"s3://{bucket}/aldar /{COAT} "):
        assert Path(fetch(address).path).name == COAT
    server.put(bucket, "aldar ", {COAT: tensors(value=3)})
    assert Path(fetch(f"s3://{bucket}/aldar ").path).read_bytes() == tensors(value=3)
    with pytest.raises(ObjectNotFound, match="prefix 'hero ', which has white space at its end; expected"):
        fetch(f"s3://{bucket}/hero ")


def test_the_checkpoints_of_a_folder_are_named(server: S3Server, fetch: Fetch, bucket: str, tmp_path: Path) -> None:
    for step in (1000, 200, 100):
        server.put(bucket, f"run/checkpoint-{step}", adapter())
        for name, data in adapter().items():
            (tmp_path / "run" / f"checkpoint-{step}" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "run" / f"checkpoint-{step}" / name).write_bytes(data)
    for source in (f"s3://{bucket}/run", str(tmp_path / "run")):
        with pytest.raises(ObjectNotFound) as caught:
            fetch(source)
        told = (
            "no LoRA here itself, but in its folders checkpoint-100, checkpoint-200, checkpoint-1000; name one of them"
        )
        assert f"{source}: {told}" in str(caught.value)
    server.put(bucket, "heroes", {f"hero-{number}/{COAT}": tensors() for number in range(10)})
    with pytest.raises(ObjectNotFound, match=r"hero-0, .*, hero-7 and 2 more; name one of them"):
        fetch(f"s3://{bucket}/heroes")


def test_an_object_whose_head_is_refused_is_looked_for_in_a_listing(
    server: S3Server, fetch: Fetch, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.put(bucket, "aldar", {COAT: tensors()})
    refuse, left = answer_error("400", 400), [1]

    def first_head(environ: Environ, start: StartResponse) -> object:
        return refuse(environ, start) if environ["REQUEST_METHOD"] == "HEAD" and left and left.pop() else None

    server.rule = first_head  # type: ignore[assignment]  # as a server does before it has told its region
    with caplog.at_level(logging.WARNING):
        assert Path(fetch(f"s3://{bucket}/aldar/{COAT}").path).read_bytes() == tensors()


def test_the_region_that_an_answer_names_is_told(server: S3Server, fetch: Fetch, bucket: str) -> None:
    def elsewhere(environ: Environ, start: StartResponse) -> list[bytes]:
        code = b"AuthorizationHeaderMalformed"
        body = b"<Error><Code>%s</Code><Message>m</Message><Region>eu-central-1</Region></Error>" % code
        start("400 -", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    server.rule = elsewhere
    with pytest.raises(StorageError, match=r"the bucket is in another region; set AWS_REGION to eu-central-1$"):
        fetch(f"s3://{bucket}/aldar")
