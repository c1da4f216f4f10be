"""Prepares Prefect for a run; each problem becomes one line with the way out."""

from __future__ import annotations

import io
import os
import ssl
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import ValidationError

from flows.commands.server_answers import require_answer
from models.errors import InputError
from models.settings import explain

if TYPE_CHECKING:
    from prefect.settings import Settings

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "PREFECT_API_SSL_CERT_FILE")
"""Variables that name certificates for the clients of Prefect and OpenAI."""

FOR_TEMPORARY = {"flows.heartbeat_frequency": None}
"""Settings of a run on a temporary server: it sends no signs of life, which nobody looks for there. At its end it would
wait for the thread that sends them, up to a second."""


def start(check: Callable[[], None], *, paints: bool = True) -> dict[str, Any]:
    """Make sure that a Prefect server answers: a named one, or a temporary one that ends with this process.

    Args:
        check: raises a StoryboardError if the run can't succeed; called while a temporary server starts.
        paints: whether the run needs the painting libraries.

    Returns:
        Prefect's settings for the run, where they differ.

    Raises:
        StoryboardError: from `check`, or because there is no server.
    """
    require_usable_network()
    settings = _settings()
    _require_writable(settings.home)
    if settings.api.url:
        check()
        require_answer(settings)
        return {}
    if not settings.server.ephemeral.enabled:
        raise InputError(
            "no Prefect server is named, and PREFECT_SERVER_EPHEMERAL_ENABLED is off: set PREFECT_API_URL or turn it on"
        )
    from flows.commands.temporary_server import TemporaryServer  # noqa: PLC0415

    with TemporaryServer.starting(settings) as server:
        check()
        if paints:
            import_what_paints()
        server.use()
    from tasks.progress import hide_bars  # noqa: PLC0415

    hide_bars()
    return FOR_TEMPORARY


def require_usable_network() -> None:
    """Refuse certificates and proxies with which no HTTP client can be made.

    Raises:
        InputError: the message names the variable.
    """
    for name in CERTIFICATES:
        if (place := os.environ.get(name)) and not Path(place).exists():
            raise InputError(f"{name} names {place}, and there is no such file: correct it, or unset it")
    try:
        httpx.Client().close()
    except ssl.SSLError as error:
        raise InputError(f"SSL_CERT_FILE holds no certificates that can be read ({error.reason}): unset it") from None
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        proxies = ", ".join(name for name in os.environ if name.lower().endswith("_proxy") and "no" not in name.lower())
        reason = "a SOCKS proxy needs pip install socksio" if isinstance(error, ImportError) else "no proxy's address"
        raise InputError(f"{proxies}: {reason}; correct it, or unset it") from None


def _settings() -> Settings:
    """Return Prefect's settings from the environment, `.env` and the active profile."""
    try:
        # Prefect's own output is suppressed, because the errors below report the same in one line.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.filterwarnings("ignore", message="Failed to create the Prefect home")
            from prefect.settings import get_current_settings, load_profiles  # noqa: PLC0415

            settings, profiles = get_current_settings(), load_profiles()
    except Exception as error:
        reason = explain(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise InputError(
            f"Prefect's settings can't be read: {reason}: correct PREFECT_… in the environment, in .env or in the "
            "profiles.toml of PREFECT_HOME"
        ) from error
    profile = os.environ.get("PREFECT_PROFILE")
    if profile is not None and profile not in profiles.names:
        raise InputError(
            f"PREFECT_PROFILE names {profile!r}, and there is no such profile: correct it, or unset it; there are "
            f"{', '.join(sorted(profiles.names))}"
        )
    return settings


def _require_writable(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        raise InputError(
            f"{home}, where Prefect keeps its results, is not writable: {reason}; set PREFECT_HOME to a writable folder"
        ) from None


def import_what_paints() -> None:
    """Import the painting libraries, which takes 4 s on two cores; nothing of a GPU is used."""
    from models.diffusion.loading import import_libraries  # noqa: PLC0415

    with suppress(Exception):  # an import that fails is reported where it is needed
        import_libraries()
        import_module("models.diffusion.painter")  # imports torch
