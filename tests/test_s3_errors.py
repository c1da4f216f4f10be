"""What each failure of S3 is told as, hostile and unusual objects, and that no secret is in a message."""

from __future__ import annotations

import copy
import socket
import traceback
from pathlib import Path
from typing import Any

import pytest
import s3_server
from s3_server import ACCESS_KEY, COAT, SECRET_KEY, Fetch, S3Server, adapter, answer_error, make_keys, tensors

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
from models.s3.client import find_credentials_problem
from models.secrets.keys import Keys
from models.storage.files import fingerprint

running_server, server, fetch = s3_server.running_server, s3_server.server, s3_server.fetch


@pytest.fixture
def source(server: S3Server) -> str:
    """One LoRA file, sent whole."""
    bucket = server.make_bucket()
    server.put(bucket, "aldar", {COAT: tensors()})
    return f"s3://{bucket}/aldar"


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        (("InvalidAccessKeyId", 403), CredentialsMissing, "Run: aws configure"),
        (("SignatureDoesNotMatch", 403), CredentialsMissing, "Run: aws configure"),
        (("ExpiredToken", 400), CredentialsMissing, "Run: aws configure"),
        (("AccessDenied", 403), AccessDenied, "s3:GetObject"),
        (("AllAccessDisabled", 403), AccessDenied, "s3:GetObject"),
        (("NoSuchBucket", 404), BucketNotFound, "check the bucket's name"),
        (("NoSuchKey", 404), ObjectNotFound, "no such object"),
        (("SlowDown", 503), ConnectionFailed, "busy"),
        (("InternalError", 500), ConnectionFailed, "busy"),
        (("BadGateway", 502), ConnectionFailed, "busy"),
        (("RequestTimeout", 400), ConnectionFailed, "busy"),
        (("PreconditionFailed", 412), CorruptFile, "changed while it was being fetched"),
        (("InvalidObjectState", 403), StorageError, "restore it first"),
        (("RequestTimeTooSkewed", 403), StorageError, "clock"),
        (("TooTall", 418), StorageError, "answered TooTall"),
    ],
)
def test_answers_are_told_apart(
    server: S3Server, fetch: Fetch, source: str, answer: tuple[str, int], expected: type[StoryboardError], words: str
) -> None:
    server.rule = answer_error(*answer)
    for name in ("", f"/{COAT}"):
        server.requests.clear()
        with pytest.raises(expected, match=words) as caught:
            fetch(source + name)
        assert type(caught.value) is expected
        assert caught.value.retryable == (expected in (ConnectionFailed, CorruptFile))
        assert str(caught.value).startswith(source)
        assert len([request for request in server.requests if "?" in request]) <= 2, "boto3 retried by itself"


def test_a_key_that_may_be_listed_and_not_read_is_denied(server: S3Server, fetch: Fetch, source: str) -> None:
    denied = answer_error("AccessDenied", 403)
    server.rule = lambda environ, start: denied(environ, start) if environ["REQUEST_METHOD"] == "HEAD" else None
    with pytest.raises(AccessDenied):
        fetch(f"{source}/{COAT}")


def test_a_download_that_is_denied_is_told(server: S3Server, fetch: Fetch, source: str) -> None:
    denied = answer_error("AccessDenied", 403)
    server.rule = lambda environ, start: None if "list-type" in environ["QUERY_STRING"] else denied(environ, start)
    with pytest.raises(AccessDenied):
        fetch(source)


def test_wrong_names_are_told_apart(server: S3Server, fetch: Fetch, source: str) -> None:
    bucket = source.split("/")[2]
    with pytest.raises(BucketNotFound, match=r"s3://steppe-0/aldar: 127\.0\.0\.1:"):
        fetch("s3://steppe-0/aldar")
    for absent in ("alda", "aldar/hat.safetensors", "aldar/hat"):
        with pytest.raises(ObjectNotFound, match="nothing lies under this prefix; expected the folders"):
            fetch(f"s3://{bucket}/{absent}")


def test_a_folder_without_a_lora_is_not_fetched(server: S3Server, fetch: Fetch) -> None:
    bucket = server.make_bucket()
    files = adapter()
    del files["unet_lora/adapter_config.json"]
    server.put(bucket, "aldar/checkpoint-900", files)
    with pytest.raises(ObjectNotFound, match=r"missing unet_lora/adapter_config\.json"):
        fetch(f"s3://{bucket}/aldar/checkpoint-900")
    with pytest.raises(ObjectNotFound, match="no LoRA here"):
        fetch(f"s3://{bucket}/aldar")
    assert not server.gets()


@pytest.mark.parametrize(
    "address",
    ["s3://", "s3:///aldar", "s3://steppe-1", "s3://steppe-1/", "s3:/steppe-1/aldar", "s3://s/aldar", "s3:aldar"],
)
def test_malformed_addresses_are_refused(fetch: Fetch, address: str) -> None:
    with pytest.raises(InputError, match="expected s3://bucket/prefix"):
        fetch(address)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.safetensors",
        "unet_lora/../../evil.safetensors",
        "/etc/evil.safetensors",
        "a//b",
        "./a",
        "..\\evil.safetensors",
        "C:\\a",
        "C:a",
    ],
)
def test_hostile_keys_are_ignored_by_name(
    server: S3Server, fetch: Fetch, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = server.make_bucket()
    server.put(bucket, "aldar", {COAT: tensors()})
    # No client sends such keys as they are, so that they are put into the server's own memory.
    objects = server.stored(bucket)
    objects[f"aldar/{name}"] = copy.copy(objects[f"aldar/{COAT}"])
    objects[f"aldar/{name}"].name = f"aldar/{name}"
    assert Path(fetch(f"s3://{bucket}/aldar").path).read_bytes() == tensors()
    assert f"1 keys are ignored that are no safe file names, such as {name!r}" in caplog.text
    assert set(server.gets()) == {f"aldar/{COAT}"}
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("algorithm", ["SHA256", "CRC32"])
def test_an_encrypted_object_is_checked_by_its_stored_checksum(server: S3Server, fetch: Fetch, algorithm: str) -> None:
    bucket = server.make_bucket()
    server.put(bucket, "aldar", {COAT: tensors()}, ChecksumAlgorithm=algorithm)
    stored = encrypt(server, bucket)
    assert Path(fetch(f"s3://{bucket}/aldar").path).read_bytes() == tensors()
    stored._etag = "1" * 32
    stored.checksum_value = stored.checksum_value.swapcase()
    with pytest.raises(CorruptFile):
        fetch(f"s3://{bucket}/aldar")


def test_an_object_with_no_checksum_is_taken_by_its_size_and_that_is_said(
    server: S3Server, fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = server.make_bucket()
    server.put(bucket, "aldar", {COAT: tensors()})
    encrypt(server, bucket).checksum_algorithm = None
    fetch(f"s3://{bucket}/aldar")
    assert f"{COAT} has no checksum; only its size was compared" in caplog.text


def encrypt(server: S3Server, bucket: str) -> Any:
    """As S3 describes an object that lies encrypted with a KMS key: its ETag is no MD5."""
    stored = server.stored(bucket)[f"aldar/{COAT}"]
    stored._etag = "0" * 32
    stored.encryption = "aws:kms"
    return stored


def test_a_large_object_whose_etag_the_server_refuses_is_fetched_in_one_piece(
    server: S3Server, fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    bucket, files = server.make_bucket(), adapter(9 * 2**20)
    server.put(bucket, "lora", files)
    server.rule = s3_server.naming_etags(server, "CPDHgfi=")
    found = fetch(f"s3://{bucket}/lora")
    assert "fetched again in one request: its ETag changed or is refused" in caplog.text
    assert {name: (Path(found.path) / name).read_bytes() for name in files} == files


def test_an_object_replaced_after_it_was_listed_is_not_taken_for_it(
    server: S3Server, fetch: Fetch, source: str
) -> None:
    def replace(environ: dict[str, Any], _: object) -> None:
        if environ["REQUEST_METHOD"] == "GET" and "list-type" not in environ["QUERY_STRING"]:
            server.rule = None
            server.client.put_object(Bucket=source.split("/")[2], Key=f"aldar/{COAT}", Body=tensors(value=5))

    server.rule = replace
    with pytest.raises(CorruptFile) as caught:
        fetch(source)
    assert caught.value.retryable
    assert fetch(source).fingerprint == fingerprint(Path(fetch(source).path))


def test_credentials_are_missing(server: S3Server, fetch: Fetch, source: str, tmp_path: Path) -> None:
    cases = {
        "NoCredentialsError": make_keys(aws_endpoint_url=server.url),  # and the bucket is not public
        "ProfileNotFound": make_keys(aws_endpoint_url=server.url, aws_profile="bai"),
        "AWS_SECRET_ACCESS_KEY is not set": make_keys(aws_access_key_id=ACCESS_KEY),
        "AWS_ACCESS_KEY_ID is not set": make_keys(aws_secret_access_key=SECRET_KEY, aws_access_key_id=""),
    }
    for words, keys in cases.items():
        with pytest.raises(CredentialsMissing, match=words) as caught:
            fetch(source, keys)
        assert "Run: aws configure, or set AWS_ACCESS_KEY_ID" in str(caught.value)
        assert find_credentials_problem(keys)
    assert find_credentials_problem(server.keys) is None


def test_settings_that_name_nothing_are_refused_by_their_name(server: S3Server, fetch: Fetch, source: str) -> None:
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL: 'steppe:9000' is no URL; expected https://host"):
        fetch(source, keys_at("steppe:9000"))
    with pytest.raises(InputError, match="AWS_REGION is not a region's name"):
        fetch(source, server.keys.model_copy(update={"aws_region": "the steppe"}))


def test_a_profile_of_boto3s_own_files_is_used(server: S3Server, fetch: Fetch, source: str, tmp_path: Path) -> None:
    text = f"[aldar]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    (tmp_path / "credentials").write_text(text)
    assert fetch(source, make_keys(aws_endpoint_url=server.url, aws_profile="aldar")).source == source


def test_an_endpoint_out_of_reach_can_be_tried_again(fetch: Fetch, source: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ConnectionFailed, match=r"no connection to 127\.0\.0\.1:") as caught:
            fetch(source, keys_at(url))
    assert caught.value.retryable


def test_no_secret_is_told(server: S3Server, fetch: Fetch, source: str) -> None:
    secrets = ["hunter2", "hodja", ACCESS_KEY, SECRET_KEY]
    told = []
    for url in ("http://hodja:hunter2@127.0.0.1:9", "hodja:hunter2@steppe", "ftp//hodja:hunter2@x"):
        with pytest.raises(StoryboardError) as caught:
            fetch(source, keys_at(url))
        told += traceback.format_exception(caught.value)
    with pytest.raises(InputError) as refused:
        fetch("s3://hodja:hunter2@steppe/aldar")
    for code in ("InvalidAccessKeyId", "AccessDenied", "SlowDown"):
        server.rule = answer_error(code, 403)
        with pytest.raises(StorageError) as caught:
            fetch(source)
        told += traceback.format_exception(caught.value)
    text = "".join([*told, *traceback.format_exception(refused.value)])
    lines = [line for line in text.splitlines() if not line.startswith("    ")]  # the test's own source
    assert not [line for line in lines if any(secret in line for secret in secrets)]


def keys_at(url: str) -> Keys:
    return make_keys(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, aws_endpoint_url=url)
