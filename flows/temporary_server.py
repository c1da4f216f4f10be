"""The server that a run from the terminal brings along, where no other is named."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress

from prefect.settings import get_current_settings


def start_temporary_server() -> None:
    """Start Prefect's temporary server out of Ctrl-C's reach; do nothing where a server is named.

    Ctrl-C reaches every process of the terminal. A server that ends with it leaves the run asking in vain for minutes,
    and nobody writes down how the run ended. A signal that is blocked here stays blocked in the process started here;
    Prefect ends that one by itself, by SIGTERM, when the run is over.

    A new server takes 5 s and more to answer. Meanwhile what painting needs is imported, which takes 4 s on two cores.
    """
    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        return
    from prefect.server.api.server import SubprocessASGIServer  # noqa: PLC0415 (seconds, needed only here)

    imports = threading.Thread(target=_import_what_paints, name="imports", daemon=True)
    imports.start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        SubprocessASGIServer().start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    imports.join()  # two threads must not import these libraries at once: their modules need each other in circles


def _import_what_paints() -> None:
    from models.diffusion.loading import import_libraries  # noqa: PLC0415

    with suppress(Exception):  # what can't be imported is told where it is needed
        import_libraries()
