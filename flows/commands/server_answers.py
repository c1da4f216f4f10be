"""Checks whether a Prefect server answers: a named one, a starting one, or one that stops during a run."""

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
"""Seconds in which a named server must answer."""
WAY_OUT = "name another, or unset that: a run then starts its own server"
TO_START = 180.0
"""Seconds in which a starting server must answer; the first start creates a database."""


def answers(url: str, is_running: Callable[[], bool]) -> bool:
    """Wait until a starting server answers, its process ends or TO_START is over; return whether it answers.

    Args:
        url: address of its API.
        is_running: returns whether its process is running.
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
    """Refuse a named address at which no Prefect server answers.

    Args:
        settings: Prefect's settings, which name the server.
        way_out: what to do besides starting it.

    Raises:
        InputError: it can't be reached, requires another password, or is no Prefect server.
    """
    url = settings.api.url or ""
    shown = f"{without_credentials(url)}, which {_named_by(settings)} names"
    try:
        answer = httpx.get(f"{url.rstrip('/')}/admin/version", auth=_password(settings), timeout=PATIENCE)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise InputError(f"{shown}, requires another password: set PREFECT_API_AUTH_STRING to the server's")
        if answer.is_server_error or not isinstance(answer.json(), str):
            raise ValueError(f"status {answer.status_code}")
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise InputError(
            f"no Prefect server answers at {shown} ({type(error).__name__}): start it, {way_out}"
        ) from None
    except ValueError:
        raise InputError(
            f"{shown}, is no Prefect server (status {answer.status_code}): its address must end with /api"
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
    """Turn a transport error into one line that says that the Prefect server stopped answering."""
    try:
        yield
    except httpx.TransportError as error:
        raise StoryboardError(
            f"the Prefect server stopped answering ({type(error).__name__}): check the server, and run again"
        ) from error
