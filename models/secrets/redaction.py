"""What is printed holds no secret: one filter that knows every secret of this process in every form that text takes.

Whoever reads a secret lets the filter learn it. `redact` is applied where text leaves the process: to log records and
what is written on stdout and stderr (`install`), to the messages of this project's errors (models/errors.py), and to
all that is sent to Prefect's server (flows/logs.py).
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
"""Mark of a function that this module has put in the place of another."""
SHORTEST, SHORTEST_WORD = 8, 12
"""Characters of a secret that is searched for, and of one that looks like a word: `lm-studio` is no secret."""

_NAMES = re.compile(r"(KEY|KEY_ID|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|AUTH_STRING)$", re.IGNORECASE)
"""Variables whose values are secrets."""
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
"""What is a secret wherever it stands (an address's user, a header, a signature), and a text without which it is not
there: a page of pictures is long, and found fast."""


class _Secrets:
    """What was learnt, for the life of the process."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.forms: tuple[str, ...] = ()
        """Longest first: one may hold another."""
        self.lock = threading.Lock()

    def add(self, secret: str) -> None:
        """Find all forms of a secret that is new."""
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
    """Let this value be hidden from now on. One that is too short or looks like a word would hide ordinary text."""
    if secret and secret not in _SECRETS.known:
        _SECRETS.add(secret)


def learn_all(values: Mapping[str, str | None]) -> None:
    """Learn what an environment holds: values of variables that are named like secrets, and addresses' passwords."""
    for name, value in values.items():
        if value and _NAMES.search(name):
            learn(value)
            learn(value.partition(":")[2] if name.upper().endswith("AUTH_STRING") else None)
        elif value and name.upper().endswith("_HEADERS"):
            for part in _IN_HEADERS.findall(value):
                learn(part)
        elif value and re.search(r"@|://.*\?", value):
            learn_address(value)


def learn_address(address: str | None) -> None:
    """Learn the user's name and password in an address, and keys in its query."""
    credentials = credentials_of(address or "")
    _, _, password = credentials.partition(":")
    keys = [value for name, value in parse_qsl(query_of(address or "")) if _IN_QUERIES.search(name)]
    for secret in (credentials, password, unquote(password), *keys):
        learn(secret)


def redact(text: str) -> str:
    """The text with each secret in it replaced by ***."""
    for form in _SECRETS.forms:
        if form in text:
            text = text.replace(form, HIDDEN)
    lower = text.lower()
    for needle, pattern, shown in _PATTERNS:
        if needle in lower:
            text = pattern.sub(shown, text)
    return text


def without_secrets(error: BaseException) -> BaseException:
    """The error if nothing in it is secret, or else one that only says what it said: others keep their arguments."""
    told = f"{''.join(traceback.format_exception(error))} {error!r} {vars(error)!r}"
    return error if redact(told) == told else RuntimeError(redact(f"{type(error).__name__}: {error}"))


def _is_telling(value: str) -> bool:
    mixed = value.lower() != value != value.upper() or any(map(str.isdigit, value))
    return len(value) >= (SHORTEST if mixed else SHORTEST_WORD)


def _forms_of(secret: str) -> Iterator[str]:
    """The secret as programs print it: raw, escaped once and twice, in an address, in a page, and within base64."""
    for form in {secret, *_escaped(secret)}:
        yield from {form, *_escaped(form)}
    yield from (quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret))
    data = secret.encode("utf-8", "surrogatepass")
    for start in range(
        3
    ):  # where in a group of three bytes the secret begins; only whole characters of its own are kept
        text = base64.b64encode(b"\0" * start + data).decode()
        own = text[-(-start * 8 // 6) : (start + len(data)) * 8 // 6]
        yield from (own, own.translate(str.maketrans("+/", "-_")))


def _escaped(text: str) -> set[str]:
    shown = text.encode("utf-8", "surrogatepass")
    return {repr(text)[1:-1], ascii(text)[1:-1], repr(shown)[2:-1], json.dumps(text)[1:-1]}


def install() -> None:
    """Redact all log records of this process, and all that is written on its stdout and stderr."""
    make = logging.getLogRecordFactory()
    if not getattr(make, REDACTS, False):
        logging.setLogRecordFactory(_redacting(make))
    for stream in (sys.stdout, sys.stderr):
        _guard(stream)


def _redacting(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Records whose message and traceback are redacted before any handler or formatter sees them."""

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
    except (TypeError, ValueError):  # the arguments don't fit: logging would print them to tell so
        return f"{record.msg} {record.args}"


def _guard(stream: TextIO) -> None:
    """Let what a traceback, a warning or a library prints without logging pass the filter too."""
    write = stream.write
    if getattr(write, REDACTS, False):
        return

    def write_redacted(text: str) -> int:
        write(redact(text))
        return len(text)

    setattr(write_redacted, REDACTS, True)
    stream.write = write_redacted  # type: ignore[method-assign]
