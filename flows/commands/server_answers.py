"""Whether a Prefect server answers: one that is named, one that is starting, one that stops during a run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx

from models.errors import InputError, StoryboardError
from models.secrets.addresses import without_credentials

if TYPE_CHECKING:
    from prefect.settings import Settings

PATIENCE = 10.0
"""Seconds that a named server has to answer."""
WAY_OUT = "name another, or unset that: a run then brings a server of its own"
TO_START = 180.0
"""Seconds that a server that is started has to answer: the first start makes a database."""


def answers(url: str, is_running: Callable[[], bool]) -> bool:
    """Whether a server that is starting answers at this address: waits until it does, ends, or has had its time.

    Args:
        url: of its API.
        is_running: tells whether its process is.
    """
    deadline = time.monotonic() + TO_START
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < deadline and is_running():
            with suppress(httpx.TransportError):
                if client.get(f"{url}/health").is_success:
                    return True
            time.sleep(0.1)
    return False


def require_answer(settings: Settings, way_out: str = WAY_OUT) -> None:
    """Refuse a named server that does not answer as one.

    Args:
        settings: Prefect's, which name it.
        way_out: what to do besides starting it.

    Raises:
        InputError: it is out of reach, wants another password, or is no Prefect server.
    """
    url = settings.api.url or ""
    shown = f"{without_credentials(url)}, which {_named_by(settings)} names"
    try:
        answer = httpx.get(f"{url.rstrip('/')}/admin/version", auth=_password(settings), timeout=PATIENCE)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise InputError(f"{shown}, wants another password: set PREFECT_API_AUTH_STRING to the server's")
        if answer.is_server_error or not isinstance(answer.json(), str):
            raise ValueError(f"status {answer.status_code}")
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise InputError(
            f"no Prefect server answers at {shown} ({type(error).__name__}): start it, {way_out}"
        ) from None
    except ValueError:
        raise InputError(
            f"what answers at {shown}, is no Prefect server (status {answer.status_code}): an address ends with /api"
        ) from None


def _password(settings: Settings) -> tuple[str, str] | None:
    secret = settings.api.auth_string
    name, _, password = (secret.get_secret_value() if secret else "").partition(":")
    return (name, password) if name else None


def _named_by(settings: Settings) -> str:
    if os.environ.get("PREFECT_API_URL"):
        return "PREFECT_API_URL"
    return f"a profile in {settings.profiles_path} or .env"


@contextmanager
def explaining() -> Iterator[None]:
    """One line in place of a page, where the Prefect server stops answering."""
    try:
        yield
    except httpx.TransportError as error:
        raise StoryboardError(
            f"the Prefect server stopped answering ({type(error).__name__}): see what became of it, and run again"
        ) from error
