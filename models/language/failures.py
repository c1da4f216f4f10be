"""Errors of requests to the language model: one line each, with whether a retry can help."""

from __future__ import annotations

import json
import math
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from models.errors import (
    AnswerInvalid,
    QuotaExhausted,
    WriterError,
    WriterRefused,
    WriterUnavailable,
    WriterUnreachable,
)
from models.secrets.redaction import redact

MESSAGE_MAX = 300
INSTEAD = "correct OPENAI_BASE_URL, or use --writer offline"
BUSY = (408, 409, 425, 429)
_QUOTA = re.compile(r"insufficient_quota|insufficient (?:balance|credit|funds)|billing", re.IGNORECASE)
_NEVER_SENT = {"LocalProtocolError", "UnsupportedProtocol", "InvalidURL", "TooManyRedirects"}
"""HTTP client errors, by class name, after which waiting does not help."""


@dataclass(frozen=True)
class Reply:
    """A server's reply, successful or not."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> Any:
        """Return the parsed JSON, or None if the text is not JSON or nested too deeply."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True)
class Asked:
    """The request's data for messages: model, address without credentials, and whether a key was set."""

    model: str
    address: str
    with_key: bool = True


def find_failure(reply: Reply) -> Reply | None:
    """Return the reply if it is an error, else None. Routers also pass on errors inside a reply with status 200."""
    if reply.status >= 400:
        return reply
    body = reply.body()
    if not isinstance(body, dict):
        return None
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    error = body.get("error") or first.get("error") or (body if body.get("object") == "error" else None)
    return Reply(_status_of(error), reply.text, reply.headers) if error else None


def _status_of(error: Any) -> int:
    """Return the HTTP status that matches an error in a body."""
    if not isinstance(error, dict):
        return 404 if "endpoint" in str(error).lower() else 400
    for name in ("code", "status"):
        code = str(error.get(name))
        if code.isdecimal() and 400 <= int(code) < 600:
            return int(code)
    named = f"{error.get('code')} {error.get('type')}".lower()
    for words, status in (("rate_limit", 429), ("overload", 503), ("server_error", 500), ("timeout", 504)):
        if words in named:
            return status
    return 400


def error_of(failure: Reply, asked: Asked) -> WriterError:
    """Return the project's error for a failed request."""
    status, said = failure.status, f"HTTP {failure.status}: {_said(failure)}"
    if status == 402 or (status in (403, 429) and _QUOTA.search(failure.text)):
        return QuotaExhausted(f"the account has no quota left ({said})")
    if status in BUSY or status >= 500:
        wait = retry_after(failure.headers, time())
        return WriterUnavailable(f"the language model is temporarily unavailable ({said})", retry_after=wait)
    if status in (401, 403):
        if not asked.with_key:
            return WriterRefused(f"{asked.address} needs a key, but OPENAI_API_KEY is not set ({said})")
        return WriterRefused(f"OPENAI_API_KEY is refused, or may not use {asked.model!r} ({said})")
    if status in (404, 405):
        return _not_found(failure, asked, said)
    return WriterRefused(f"the server does not accept the request for {asked.model!r} ({said})")


def _not_found(failure: Reply, asked: Asked, said: str) -> WriterRefused:
    if asked.model in failure.text or "model" in failure.text.lower():
        return WriterRefused(f"the server has no model {asked.model!r} ({said}); choose one with --writer-model")
    if not re.search(r"/v\d", asked.address):
        way_out = f"OPENAI_BASE_URL usually ends in /v1: {asked.address.rstrip('/')}/v1"
    else:
        way_out = "is OPENAI_BASE_URL right?"
    return WriterRefused(f"there are no chat completions at {asked.address} ({said}); {way_out}")


def _said(failure: Reply) -> str:
    """Return an error's message from any of the known places, else the whole body."""
    body = failure.body()
    if isinstance(body, dict):
        error = body.get("error") or body
        for part in (error, body):
            if isinstance(part, str):
                return one_line(part)
            message = part.get("message") or part.get("detail")
            if message:
                inner = part.get("metadata")
                raw = inner.get("raw") if isinstance(inner, dict) else None  # the message of the server behind a router
                return one_line(f"{message}: {raw}" if raw else str(message))
    return one_line(failure.text)


def connection_error(error: BaseException, asked: Asked) -> WriterError:
    """Return the error for a request without a reply: retryable only if waiting can help."""
    at = asked.address
    for cause in _causes(error):
        reason = one_line(str(cause)) or type(cause).__name__
        if isinstance(cause, ConnectionRefusedError):
            return WriterUnreachable(f"nothing listens at {at}: start that server, {INSTEAD}")
        if isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN:
            return WriterUnreachable(f"there is no such host: {at} ({reason}); {INSTEAD}")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return WriterUnreachable(f"the certificate of {at} is not trusted ({reason}); set SSL_CERT_FILE, {INSTEAD}")
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION" in str(cause):
            return WriterUnreachable(f"the server at {at} does not speak TLS: is it http://? {INSTEAD}")
        if type(cause).__name__ in _NEVER_SENT or isinstance(cause, UnicodeError):
            return WriterUnreachable(f"no request can be sent to {at} ({reason}); check OPENAI_…, {INSTEAD}")
    reasons = [one_line(str(cause)) for cause in _causes(error)][1:] or [one_line(str(error))]
    return WriterUnavailable(f"the connection to {at} failed ({reasons[0]}); try again, or use --writer offline")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def no_completion(reply: Reply, asked: Asked) -> AnswerInvalid:
    """Return the error for a reply with status 200 that is not a chat completion."""
    begins = one_line(reply.text)[:80]
    right = "is OPENAI_BASE_URL right (…/v1)?"
    return AnswerInvalid(f"the reply of {asked.address} is not a chat completion; {right} It begins: {begins!r}")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the requested wait in seconds: `retry-after-ms`, or `Retry-After` in seconds or as an HTTP date.

    Args:
        now: seconds since the epoch, from which a date is counted.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def one_line(text: str) -> str:
    """Return `text` redacted, on one line, cut at `MESSAGE_MAX` characters."""
    return " ".join(redact(text).split())[:MESSAGE_MAX]
