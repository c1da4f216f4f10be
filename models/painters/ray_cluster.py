"""The connection of this process to a Ray cluster, and to the painters that Ray Serve runs there."""

from __future__ import annotations

import logging
import os
import socket
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from models.errors import InputError, PaintersUnreachable
from models.painters.ray_errors import first_line
from models.painters.ray_relay import AT_ONCE, Relay, Relayed

APP = "painters"
NAMESPACE = "storyboard"
INSTALL = "pip install -e '.[ray]'"
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A driver ends itself when the head has been silent for a minute; a run must outlive that and say why it failed.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "86400",
}
"""What Ray reads when it is imported or connects, unless the environment sets it."""

TOKEN_FILE = Path.home() / ".ray" / "auth_token"
"""Where Ray writes the token of a cluster that it starts, and looks for one."""
TO_ANSWER = 2.0
"""Seconds in which the head must accept a connection."""
LOOPBACK = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
"""With this, read when Ray is imported, it takes 127.0.0.1 as this machine's address, as it does on macOS."""
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
CURRENT = Path("/tmp/ray/ray_current_cluster")  # noqa: S108  (Ray's own file, which `auto` reads)
_LOCK = threading.RLock()
_CONNECTED = {"address": ""}
_RELAYS: list[Relayed] = []
"""The one of this connection, where Ray's client is used."""
CLIENT = "ray://"
IDS_OF_A_PROCESS = 1000
"""Random ids that a process takes at most; a run takes one, when it connects."""


def _place_of(address: str) -> tuple[str, int]:
    """Return host and port of an address; "" and 0 if it names none."""
    if address == "auto":
        address = CURRENT.read_text(encoding="utf-8").strip() if CURRENT.is_file() else ""
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    return host.strip("[]"), int(port) if port.isdecimal() else 0


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), TO_ANSWER).close()
    except OSError:
        return False
    return True


def import_ray(address: str = "") -> Any:
    """Return the module, with telemetry off.

    Args:
        address: of the cluster. Ray would look for one on loopback at this machine's other address.

    Raises:
        InputError: Ray is not installed.
    """
    if _place_of(address)[0] in LOOPBACK_HOSTS:
        os.environ.setdefault(*LOOPBACK)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")) or TOKEN_FILE.exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of pydantic's, about Ray's own records
            import ray
            import ray.serve
    except ImportError as error:
        raise InputError(f"painters elsewhere need Ray, which can't be imported ({error}): {INSTALL}") from None
    _differ_after_forks(ray)
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    return ray


@cache
def _differ_after_forks(ray: Any) -> None:
    """Let each forked process take other random ids.

    Ray seeds them once, when it is imported, so that forked processes would all take the same. Two that connected in
    the same moment would then put an object of the same id, and Ray ends one of them.
    """

    def take_ids() -> None:
        for _ in range(IDS_OF_A_PROCESS):
            ray.ObjectID.from_random()

    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(before=take_ids)


def connect(address: str) -> None:
    """Connect this process to the cluster, unless it is connected.

    Raises:
        InputError: Ray is not installed.
        PaintersUnreachable: no cluster answers there, or it wants another token.
    """
    ray = import_ray(address)
    with _LOCK:
        if ray.is_initialized() and (address == _CONNECTED["address"] or address == _head(ray)):
            return
        if not _listens(*_place_of(address)):  # Ray itself would try for more than a minute
            raise PaintersUnreachable(f"no Ray cluster listens at {address}")
        _shut_down(ray)  # Ray has one connection a process
        # In a thread, because in the main one Ray replaces the handler of SIGTERM, which Prefect needs.
        with ThreadPoolExecutor(1) as aside:
            try:
                aside.submit(_init, ray, address).result()
            except Exception as error:
                raise PaintersUnreachable(f"no Ray cluster can be reached at {address}: {first_line(error)}") from None
        _CONNECTED["address"] = address


def _init(ray: Any, address: str) -> None:
    ray.init(
        address,
        namespace=NAMESPACE,
        log_to_driver=False,
        configure_logging=False,
        logging_level=logging.ERROR,
    )


def disconnect() -> None:
    """End this process's connection, if there is one."""
    with _LOCK:
        _shut_down(import_ray())


def _shut_down(ray: Any) -> None:
    from ray.serve.context import _set_global_client

    _RELAYS.clear()
    _set_global_client(None)  # else Serve would ask the controller of the cluster that was before
    ray.shutdown()


def _head(ray: Any) -> str:
    """Return the address of the cluster that this process is connected to."""
    address = _CONNECTED["address"]
    return address if address.startswith(CLIENT) else str(ray.get_runtime_context().gcs_address)


def drop_dead_connection() -> None:
    """End the connection if the cluster's head does not listen any more, so that the next try connects anew."""
    ray = import_ray()
    with _LOCK:
        if not ray.is_initialized():
            return
        if not _listens(*_place_of(_head(ray))):
            _shut_down(ray)


def painters_at(address: str) -> Any:
    """Return Serve's handle of the painters, for replies in several parts.

    Raises:
        InputError: Ray is not installed.
        PaintersUnreachable: no cluster answers, or it has no painters.
    """
    connect(address)
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        handle = serve.get_app_handle(APP)
        return _relayed(import_ray()) if address.startswith(CLIENT) else handle.options(stream=True)
    except RayServeException:
        raise PaintersUnreachable(
            f"the Ray cluster at {address} has no painters: python -m deployments.painters --address {address}"
        ) from None


def job_here() -> str:
    """Return Ray's id of this process's connection, by which a painter learns that the process has died."""
    address = _CONNECTED["address"]
    return "" if address.startswith(CLIENT) else str(import_ray().get_runtime_context().get_job_id())


def _relayed(ray: Any) -> Relayed:
    with _LOCK:
        if not _RELAYS:
            _RELAYS.append(Relayed(ray.remote(Relay).options(num_cpus=0, max_concurrency=AT_ONCE).remote(APP)))
        return _RELAYS[0]
