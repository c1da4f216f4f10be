"""Addresses without credentials and query (which may hold a signature), so that they can be shown."""

from __future__ import annotations

import re

CREDENTIALS = re.compile(r"://[^/@\s]*(@|:.*@)")
"""An address with a user or a password in it. A password may hold a slash, against RFC 3986."""
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:?//)?(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_PORT = re.compile(r"\[.*\](:\d*)?|[^:]*(:\d*)?")


def without_credentials(address: str) -> str:
    """Return the address without credentials, query and fragment; works on malformed addresses too."""
    scheme, _, rest = _parts(address)
    return scheme + re.split("[?#]", rest, maxsplit=1)[0]


def credentials_of(address: str) -> str:
    """Return the address's `user:password`, or an empty string."""
    return _parts(address)[1]


def query_of(address: str) -> str:
    """Return the address's query, without its question mark, or an empty string."""
    return _parts(address)[2].partition("?")[2].partition("#")[0]


def _parts(address: str) -> tuple[str, str, str]:
    """Split into scheme (with its slashes), credentials, and everything from the host on.

    A password may hold an unescaped /, ? or #, against RFC 3986, section 3.2.1. The text before it then has no
    valid port, and everything up to the last @ counts as credentials.
    """
    found = _ADDRESS.fullmatch(address.strip())
    assert found is not None  # every part of the pattern may be empty
    scheme, authority, rest = found["scheme"] or "", found["authority"], found["rest"]
    if "@" not in authority and "@" in rest and not _PORT.fullmatch(authority):
        credentials, _, rest = rest.rpartition("@")
        return scheme, authority + credentials, rest
    credentials, _, host = authority.rpartition("@")
    return scheme, credentials, host + rest
