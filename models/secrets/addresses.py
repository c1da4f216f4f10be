"""Addresses as they may be shown: without a user, a password or a query, which may be a signature."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:?//)?(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_PORT = re.compile(r"\[.*\](:\d*)?|[^:]*(:\d*)?")


def without_credentials(address: str) -> str:
    """An address without what stands before its host and after its path; malformed ones too."""
    scheme, _, rest = _parts(address)
    return scheme + re.split("[?#]", rest, maxsplit=1)[0]


def credentials_of(address: str) -> str:
    """What stands before an address's host: `user:password`, or nothing."""
    return _parts(address)[1]


def query_of(address: str) -> str:
    """What stands in an address between its question mark and its hash, or nothing."""
    return _parts(address)[2].partition("?")[2].partition("#")[0]


def _parts(address: str) -> tuple[str, str, str]:
    """Scheme with its slashes, credentials, and all from the host on.

    A password that holds a slash, a question mark or a hash reaches further than the standard lets it (RFC 3986,
    section 3.2.1): what would be the host then has no number for a port, and all up to the last @ is taken for it.
    """
    found = _ADDRESS.fullmatch(address.strip())
    assert found is not None  # every part of the pattern may be empty
    scheme, authority, rest = found["scheme"] or "", found["authority"], found["rest"]
    if "@" not in authority and "@" in rest and not _PORT.fullmatch(authority):
        credentials, _, rest = rest.rpartition("@")
        return scheme, authority + credentials, rest
    credentials, _, host = authority.rpartition("@")
    return scheme, credentials, host + rest
