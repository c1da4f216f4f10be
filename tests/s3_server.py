"""A real S3 server over HTTP for tests: moto behind a thin layer that counts requests and can be told to misbehave."""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import numpy as np
import pytest
from botocore.loaders import create_loader
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from safetensors.numpy import save
from werkzeug.serving import make_server

from models.records import Adapter
from models.s3.adapters import fetch_adapter
from models.secrets.keys import Keys
from models.storage.adapters import ADAPTER_FOLDERS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

ACCESS_KEY = "AKIAALDARKOSE00000"
SECRET_KEY = "steppe-wind-and-a-borrowed-coat"
COAT = "coat.safetensors"

Environ = dict[str, Any]
Fetch = Callable[..., Adapter]
StartResponse = Callable[..., Any]
Rule = Callable[[Environ, StartResponse], Iterable[bytes] | None]
"""Answers a request instead of moto, or returns None to let it through."""


class _QuietHandler(MotoRequestHandler):  # type: ignore[misc]  # moto has no types
    def log(self, *_: object) -> None:
        pass


_NUMBERS = itertools.count(1)
"""Of buckets. moto keeps them from one test module to the next, whose server is another one."""


class S3Server:
    """moto in a thread of this process.

    Attributes:
        requests: "METHOD key" of every request since the last `reset`; a listing's key is its prefix with "?".
        rule: what answers before moto does.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.rule: Rule | None = None
        self.moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self.requests.append(f"{environ['REQUEST_METHOD']} {key_of(environ)}")
        answer = self.rule(environ, start_response) if self.rule else None
        return self.moto(environ, start_response) if answer is None else answer

    @contextmanager
    def running(self) -> Iterator[S3Server]:
        """Serve until the block ends."""
        self._thread.start()
        try:
            yield self
        finally:
            self.client.close()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def keys(self) -> Keys:
        """Keys that reach it."""
        return make_keys(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, aws_endpoint_url=self.url)

    def reset(self) -> None:
        """Forget the requests and the rule."""
        self.requests.clear()
        self.rule = None

    def gets(self) -> list[str]:
        """Keys whose bytes were asked for, once for each range."""
        return [
            request.removeprefix("GET ")
            for request in self.requests
            if request.startswith("GET ") and "?" not in request
        ]

    def make_bucket(self) -> str:
        """A new bucket's name."""
        name = f"steppe-{next(_NUMBERS)}"
        self.client.create_bucket(Bucket=name)
        return name

    @functools.cached_property
    def client(self) -> S3Client:
        """A client that is not the code under test's."""
        session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
        return session.client("s3", endpoint_url=self.url)

    def put(self, bucket: str, prefix: str, files: dict[str, bytes], **extra: Any) -> None:
        """Send the files."""
        for name, data in files.items():
            self.client.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=data, **extra)
        self.reset()

    def put_in_parts(self, bucket: str, key: str, parts: list[bytes]) -> None:
        """Send one object in parts of these bytes."""
        upload = self.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        done: list[CompletedPartTypeDef] = []
        for number, part in enumerate(parts, start=1):
            sent = self.client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=part)
            done.append({"ETag": sent["ETag"], "PartNumber": number})
        self.client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done})
        self.reset()

    def stored(self, bucket: str) -> Any:
        """moto's own dictionary of the bucket's objects, for what no client can send."""
        return s3_backends["123456789012"]["aws"].buckets[bucket].keys


def key_of(environ: Environ) -> str:
    """The object's key of a request, without the bucket; a listing's prefix with "?" before it."""
    query = environ["QUERY_STRING"]
    key = environ["PATH_INFO"].strip("/").partition("/")[2]
    return f"?{query}" if "list-type" in query else str(key)


def answer_error(code: str, status: int) -> Rule:
    """A rule that answers everything with this error, as S3 words it."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()

    def rule(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(f"{status} -", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return rule


def knowing_no_parts(status: int) -> Rule:
    """A rule by which no question about an object's parts is answered."""
    refuse = answer_error("NotImplemented", status)
    return lambda environ, start: refuse(environ, start) if "partNumber" in environ["QUERY_STRING"] else None


def refusing_signatures(code: str = "InvalidAccessKeyId") -> Rule:
    """A rule by which only requests without a signature are let through, as where these credentials are not known."""
    refuse = answer_error(code, 403)
    return lambda environ, start: refuse(environ, start) if "HTTP_AUTHORIZATION" in environ else None


def listing_nothing() -> Rule:
    """A rule by which objects may be read and not listed."""
    refuse = answer_error("AccessDenied", 403)
    return lambda environ, start: refuse(environ, start) if "list-type" in environ["QUERY_STRING"] else None


def naming_etags(server: S3Server, etag: str) -> Rule:
    """A rule by which every answer names this ETag, which is no MD5 and which no condition in a request fulfils."""

    def rule(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            named = [(name, f'"{etag}"' if name.lower() == "etag" else value) for name, value in headers]
            return start_response(status, named, *more)

        answered: Iterable[bytes] = server.moto(environ, start)
        return answered

    return rule


def change_bytes(server: S3Server, change: Callable[[bytes], Iterable[bytes]]) -> Rule:
    """A rule that lets objects through with other bytes, their headers unchanged."""

    def rule(environ: Environ, start_response: StartResponse) -> Iterable[bytes] | None:
        if environ["REQUEST_METHOD"] != "GET" or key_of(environ).startswith("?"):
            return None
        return change(b"".join(server.moto(environ, start_response)))

    return rule


def flip(body: bytes) -> Iterable[bytes]:
    """The body with one bit changed."""
    return [body[:-1] + bytes([body[-1] ^ 1])]


def cut(body: bytes) -> Iterator[bytes]:
    """Half of the body, then a dropped connection."""
    yield body[: len(body) // 2]
    raise ConnectionResetError


def forget_aws(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Hide this machine's own credentials and settings from boto3."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def make_keys(**values: str) -> Keys:
    """Keys without what this machine's `.env` holds."""
    return Keys(_env_file=None, **values)  # type: ignore[arg-type]


def adapter(size: int = 64, name: str = "adapter_model.safetensors") -> dict[str, bytes]:
    """A LoRA in the three folders, as names and bytes; each holds other numbers."""
    files = {}
    for number, folder in enumerate(ADAPTER_FOLDERS):
        files[f"{folder}/adapter_config.json"] = b'{"r": 4, "lora_alpha": 2}'
        files[f"{folder}/{name}"] = tensors(size, number)
    return files


def tensors(size: int = 64, value: int = 0) -> bytes:
    """A safetensors file of `size` numbers."""
    return bytes(save({"conv_in.lora_A.weight": np.arange(size, dtype=np.float32) + value}))


@pytest.fixture(scope="module")
def running_server() -> Iterator[S3Server]:
    """One server for a test module, which takes both fixtures in by name."""
    with S3Server().running() as server:
        yield server


read_once = functools.cache(create_loader)
"""botocore's own description of S3, from its files: parsed for every client anew it takes longer than most requests."""


@pytest.fixture
def server(running_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Server:
    """The module's server, empty and obedient, and no AWS settings but a test's own."""
    forget_aws(monkeypatch, tmp_path)
    monkeypatch.setattr(botocore.session, "create_loader", read_once)
    running_server.reset()
    return running_server


@pytest.fixture
def fetch(server: S3Server, tmp_path: Path) -> Fetch:
    """Fetches a LoRA from the server into a cache of the test's own."""

    def fetch(source: str, keys: Keys | None = None) -> Adapter:
        return fetch_adapter(source, cache_dir=tmp_path / "cache", keys=keys or server.keys)

    return fetch
