"""Excludes this machine's own addresses from proxies."""

from __future__ import annotations

from collections.abc import MutableMapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NAMES = ("no_proxy", "NO_PROXY")


def leave_out_loopback(environment: MutableMapping[str, str]) -> None:
    """Add the loopback addresses to no_proxy and NO_PROXY, since a library may read either."""
    given = next((environment[name] for name in _NAMES if environment.get(name)), "")
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    if "*" in hosts:
        return
    hosts += [host for host in LOOPBACK if host not in hosts]
    environment.update(dict.fromkeys(_NAMES, ",".join(hosts)))
