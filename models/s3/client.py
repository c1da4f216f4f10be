"""Makes S3 clients, and turns their errors into one line each, without keys or passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore import exceptions as boto
from botocore.config import Config
from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError, S3ValidationError

from models.errors import (
    AccessDenied,
    BucketNotFound,
    ConnectionFailed,
    CorruptFile,
    CredentialsMissing,
    InputError,
    ObjectNotFound,
    StorageError,
)
from models.secrets.addresses import without_credentials
from models.secrets.keys import AWS_KEYS, Keys, find_key_problem

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# boto3's own retries are off: Prefect's are visible in the dashboard, and two layers of retries would multiply.
_CONFIG = Config(
    connect_timeout=10,
    read_timeout=30,
    retries={"total_max_attempts": 1},
    max_pool_connections=16,
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",  # models/s3/download.py compares whole files, ranges included
)
TO_READ, TO_WRITE = "s3:ListBucket and s3:GetObject", "s3:PutObject"
"""Permissions that a request may lack."""
CREDENTIALS_WAY_OUT = "Run: aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in .env"

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.ProfileNotFound,
    boto.CredentialRetrievalError,
    boto.SSOError,
    boto.TokenRetrievalError,
    boto.NoAuthTokenError,
    boto.LoginError,
)
_CONNECTION = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, ConnectionError, TimeoutError)
_CHANGED = (S3DownloadFailedError, S3ValidationError)
_REFUSED = (CredentialsMissing, f"the credentials are refused or have expired. {CREDENTIALS_WAY_OUT}")
_ABSENT = (ObjectNotFound, "no such object; it may have been removed just now")
_DENIED = (AccessDenied, "these credentials need {permissions} here")
_BUSY = (ConnectionFailed, "the server is busy or failing; try again")
_ALTERED = (CorruptFile, "an object changed while it was being fetched; try again")
_DAMAGED = (CorruptFile, "the bytes that arrived do not match their checksum; try again")
_ELSEWHERE = (StorageError, "the bucket is in another region; set AWS_REGION{region}")
_UNKNOWN = (StorageError, "this answer has no known remedy")
_ANSWERS: dict[str, tuple[type[StorageError], str]] = {
    "InvalidAccessKeyId": _REFUSED,
    "SignatureDoesNotMatch": _REFUSED,
    "ExpiredToken": _REFUSED,
    "InvalidToken": _REFUSED,
    "TokenRefreshRequired": _REFUSED,
    "InvalidSecurity": _REFUSED,
    "NoSuchBucket": (BucketNotFound, "check the bucket's name and AWS_ENDPOINT_URL"),
    "InvalidBucketName": (BucketNotFound, "the server does not accept this bucket name; check it"),
    "NoSuchKey": _ABSENT,
    "404": _ABSENT,
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "SlowDown": _BUSY,
    "RequestTimeout": _BUSY,
    "429": _BUSY,
    "PreconditionFailed": _ALTERED,
    "412": _ALTERED,
    "BadDigest": _DAMAGED,
    "XAmzContentChecksumMismatch": _DAMAGED,
    "XAmzContentSHA256Mismatch": _DAMAGED,
    "NoSuchUpload": (ConnectionFailed, "the server dropped the upload; try again"),
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "InvalidObjectState": (StorageError, "the object is archived; restore it first"),
    "RequestTimeTooSkewed": (StorageError, "set this machine's clock"),
}


def make_session(keys: Keys) -> boto3.Session:
    """Return a boto3 session with the keys' credentials; unset ones are looked up by boto3's own chain.

    Raises:
        CredentialsMissing: only half of the key pair is set, or a key can't be sent.
        botocore.exceptions.BotoCoreError: the profile does not exist.
    """
    if problem := find_key_problem(keys, AWS_KEYS):
        raise CredentialsMissing(problem)
    key, secret, token = map(keys.reveal, AWS_KEYS)
    if bool(key) != bool(secret):
        absent = "AWS_SECRET_ACCESS_KEY" if key else "AWS_ACCESS_KEY_ID"
        raise CredentialsMissing(f"{absent} is not set, but the other half of the pair is. {CREDENTIALS_WAY_OUT}")
    return boto3.Session(
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token if key else None,
        region_name=keys.aws_region or keys.aws_default_region,
        profile_name=keys.aws_profile,
    )


def make_client(keys: Keys, *, unsigned: bool = False) -> S3Client:
    """Return a client for S3, or for the keys' endpoint. Sends nothing.

    Args:
        keys: credentials and endpoint.
        unsigned: send requests without credentials, for public buckets.

    Raises:
        InputError: the endpoint or the region is invalid.
        CredentialsMissing, botocore.exceptions.BotoCoreError: as `make_session`.
    """
    config = _CONFIG.merge(Config(signature_version=UNSIGNED)) if unsigned else _CONFIG
    try:
        return make_session(keys).client("s3", endpoint_url=keys.aws_endpoint_url or None, config=config)
    except boto.InvalidRegionError:
        raise InputError("AWS_REGION is not a region's name; expected one like eu-central-1") from None
    except ValueError:
        endpoint = without_credentials(keys.aws_endpoint_url or "")
        raise InputError(f"AWS_ENDPOINT_URL: {endpoint!r} is no URL; expected https://host[:port]") from None


def find_credentials_problem(keys: Keys, *, needed: bool = True) -> str | None:
    """Return in one line why no request can be signed; None if credentials are found. Sends nothing.

    Args:
        keys: credentials.
        needed: whether missing credentials are a problem, besides incomplete ones and an unknown profile.
    """
    try:
        with errors_told_apart("AWS credentials", keys):
            found = make_session(keys).get_credentials() is not None
    except StorageError as error:
        return str(error)
    return None if found or not needed else f"no AWS credentials found. {CREDENTIALS_WAY_OUT}"


@contextmanager
def errors_told_apart(what: str, keys: Keys, permissions: str = TO_READ) -> Iterator[None]:
    """Turn boto3's exceptions into this project's errors.

    The original is not chained: its text may hold the endpoint's URL with a password, or a key's id.

    Args:
        what: the start of every message, such as the address.
        keys: credentials and endpoint.
        permissions: the permissions to name if access is denied.

    Raises:
        StorageError: a subclass, each with its own way out.
    """
    host = _host_of(keys.aws_endpoint_url)
    try:
        yield
    except boto.ClientError as error:
        raise _explain_answer(error, f"{what}: {host}", permissions) from None
    except RetriesExceededError as error:
        raise _explain_failure(error.last_exception, what, host) from None
    except (boto.BotoCoreError, *_CHANGED) as error:
        raise _explain_failure(error, what, host) from None


def _explain_failure(error: BaseException, what: str, host: str) -> StorageError:
    """Return the error for an exception raised by boto3 itself."""
    if isinstance(error, _NO_CREDENTIALS):
        return CredentialsMissing(f"{what}: no AWS credentials ({type(error).__name__}). {CREDENTIALS_WAY_OUT}")
    if isinstance(error, _CONNECTION):
        reason = type(error).__name__
        return ConnectionFailed(f"{what}: no connection to {host}, or it was cut ({reason}); check the network")
    if isinstance(error, _CHANGED):
        return CorruptFile(f"{what}: an object changed while it was being fetched; try again")
    return StorageError(f"{what}: boto3 refused the request ({type(error).__name__}); check the AWS_… settings")


def _explain_answer(error: boto.ClientError, who: str, permissions: str) -> StorageError:
    """Return the error for a server's error answer."""
    code = error_code(error)
    status = status_of(error)
    by_status = _DENIED if status == 403 else _BUSY if status >= 500 else _UNKNOWN
    kind, way_out = _ANSWERS.get(code, by_status)
    return kind(f"{who} answered {code}: {way_out.format(permissions=permissions, region=_region_in(error))}")


def _region_in(error: boto.ClientError) -> str:
    """Return " to REGION", if the answer names the region, for the message "set AWS_REGION"; else ""."""
    response: dict[str, Any] = dict(error.response)
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = str(response.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region") or "")
    return f" to {region}" if re.fullmatch("[a-z0-9-]{1,40}", region) else ""


def status_of(error: boto.ClientError) -> int:
    """Return the answer's HTTP status, 0 if there is none."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def error_code(error: boto.ClientError) -> str:
    """Return S3's error code, or the HTTP status if the answer had no body."""
    return error.response.get("Error", {}).get("Code", "unknown")


def _host_of(endpoint: str | None) -> str:
    try:
        return urlsplit(without_credentials(endpoint or "")).netloc or "S3"
    except ValueError:
        return "S3"
