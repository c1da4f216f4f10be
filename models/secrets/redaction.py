"""Redaction: replaces this process's secrets, in every form that programs print them, by ***.

Code that reads a secret registers it with `learn`. `redact` runs where text leaves the process: on log records, stdout
and stderr (`install`), error messages (models/errors.py), and everything sent to Prefect's server (flows/logs.py).
"""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from models.secrets.addresses import credentials_of, query_of

HIDDEN = "***"
REDACTS = "redacts"
"""Attribute that marks a function wrapped by this module."""
SHORTEST, SHORTEST_WORD = 8, 12
"""Minimum lengths of a secret, and of one without digits or mixed case: `lm-studio` is an ordinary word."""

_NAMES = re.compile(r"(KEY|KEY_ID|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|AUTH_STRING)$", re.IGNORECASE)
"""Names of variables whose values are secrets."""
_PATHS = ("STORYBOARD_C2PA_KEY",)
"""Names like those, of variables that hold a file's path."""
_IN_QUERIES = re.compile(r"key|token|sig|secret|pass|code", re.IGNORECASE)
_IN_HEADERS = re.compile(r"[^\s\"',:{}=]{16,}")
_NO_PART_OF_A_KEY = re.compile(r"[^!-~]+|[\"'\\]+")
_PATTERNS = (
    ("://", re.compile(r"(?<=://)[^\s/?#\"'<>\\]+@"), f"{HIDDEN}@"),
    (
        "authorization",
        re.compile(r"(?i)(\bauthorization(?:\s*[:=]|\\*[\"']\s*[:=,])\s*b?\\*[\"']?(?:bearer|basic) )[^\s\"'\\]+"),
        rf"\1{HIDDEN}",
    ),
    ("x-amz-", re.compile(r"(?i)(\bx-amz-(?:signature|credential|security-token)=)[^&\s\"'\\]+"), rf"\1{HIDDEN}"),
)
"""Secrets known by their position (credentials in an address, a header, a signature): a substring that must be present
(a fast test, as pages with pictures are long), the pattern, and its replacement."""


class _Secrets:
    """Registered secrets, kept for the life of the process."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.forms: tuple[str, ...] = ()
        """Longest first, because one form may contain another."""
        self.lock = threading.Lock()

    def add(self, secret: str) -> None:
        """Compute and store all forms of a new secret."""
        parts = {
            secret,
            secret.strip(),
            *(part for part in _NO_PART_OF_A_KEY.split(secret) if len(part) >= SHORTEST_WORD),
        }
        found = {form for part in parts if _is_telling(part) for form in _forms_of(part)}
        with self.lock:
            self.known.add(secret)
            self.forms = tuple(sorted({*self.forms, *found}, key=len, reverse=True))


_SECRETS = _Secrets()


def learn(secret: str | None) -> None:
    """Redact this value from now on. Short or word-like values are ignored: they would hide ordinary text."""
    if secret and secret not in _SECRETS.known:
        _SECRETS.add(secret)


def learn_all(values: Mapping[str, str | None]) -> None:
    """Register the secrets among these variables: values with a secret's name, headers, and addresses' passwords."""
    for name, value in values.items():
        if value and name.upper() in _PATHS and "PRIVATE KEY" not in value:
            continue
        if value and _NAMES.search(name):
            learn(value)
            learn(value.partition(":")[2] if name.upper().endswith("AUTH_STRING") else None)
        elif value and name.upper().endswith("_HEADERS"):
            for part in _IN_HEADERS.findall(value):
                learn(part)
        elif value and re.search(r"@|://.*\?", value):
            learn_address(value)


def learn_address(address: str | None) -> None:
    """Register an address's credentials and the keys in its query."""
    credentials = credentials_of(address or "")
    _, _, password = credentials.partition(":")
    keys = [value for name, value in parse_qsl(query_of(address or "")) if _IN_QUERIES.search(name)]
    for secret in (credentials, password, unquote(password), *keys):
        learn(secret)


def redact(text: str) -> str:
    """Return the text with each secret replaced by ***."""
    for form in _SECRETS.forms:
        if form in text:
            text = text.replace(form, HIDDEN)
    lower = text.lower()
    for needle, pattern, shown in _PATTERNS:
        if needle in lower:
            text = pattern.sub(shown, text)
    return text


def without_secrets(error: BaseException) -> BaseException:
    """Return the error, or a RuntimeError with its redacted message if its text, arguments or fields hold a secret."""
    told = f"{''.join(traceback.format_exception(error))} {error!r} {vars(error)!r}"
    return error if redact(told) == told else RuntimeError(redact(f"{type(error).__name__}: {error}"))


def _is_telling(value: str) -> bool:
    mixed = value.lower() != value != value.upper() or any(map(str.isdigit, value))
    return len(value) >= (SHORTEST if mixed else SHORTEST_WORD)


def _forms_of(secret: str) -> Iterator[str]:
    """Yield the secret raw, escaped once and twice, as in URLs and HTML, and as part of base64 text."""
    for form in {secret, *_escaped(secret)}:
        yield from {form, *_escaped(form)}
    yield from (quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret))
    data = secret.encode("utf-8", "surrogatepass")
    for start in range(3):  # offset of the secret in a group of three bytes; characters shared with others are cut
        text = base64.b64encode(b"\0" * start + data).decode()
        own = text[-(-start * 8 // 6) : (start + len(data)) * 8 // 6]
        yield from (own, own.translate(str.maketrans("+/", "-_")))


def _escaped(text: str) -> set[str]:
    shown = text.encode("utf-8", "surrogatepass")
    return {repr(text)[1:-1], ascii(text)[1:-1], repr(shown)[2:-1], json.dumps(text)[1:-1]}


def install() -> None:
    """Redact all log records, stdout and stderr of this process."""
    make = logging.getLogRecordFactory()
    if not getattr(make, REDACTS, False):
        logging.setLogRecordFactory(redacting(make))
    for stream in (sys.stdout, sys.stderr):
        _guard(stream)


def redacting(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Wrap a record factory: message and traceback are redacted before any handler or formatter sees them."""

    def make_record(*values: Any, **more: Any) -> logging.LogRecord:
        record = make(*values, **more)
        message = _message(record)
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0] is not None:
            told = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            clean = redact(told)
            if clean != told:
                record.exc_info, record.exc_text = None, clean
        return record

    setattr(make_record, REDACTS, True)
    return make_record


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # the arguments don't fit the format; logging would print them in its own error
        return f"{record.msg} {record.args}"


def _guard(stream: TextIO) -> None:
    """Redact what is printed on this stream without logging: tracebacks, warnings, libraries' output."""
    write = stream.write
    if getattr(write, REDACTS, False):
        return

    def write_redacted(text: str) -> int:
        write(redact(text))
        return len(text)

    setattr(write_redacted, REDACTS, True)
    stream.write = write_redacted  # type: ignore[method-assign]
