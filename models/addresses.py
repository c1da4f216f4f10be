"""Addresses as they may be shown: without a user, a password or a query, which may be a signature."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:?//)?(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_PORT = re.compile(r"\[.*\](:\d*)?|[^:]*(:\d*)?")


def without_credentials(address: str) -> str:
    """An address without what stands before its host and after its path; malformed ones too.

    A password that holds a slash, a question mark or a hash reaches further than the standard lets it (RFC 3986,
    section 3.2.1): what would be the host then has no number for a port, and everything up to the last @ is left out.
    """
    found = _ADDRESS.fullmatch(address.strip())
    assert found is not None  # every part of the pattern may be empty
    scheme, authority, rest = found["scheme"] or "", found["authority"], found["rest"]
    if "@" not in authority and "@" in rest and not _PORT.fullmatch(authority):
        authority, rest = "", rest.rpartition("@")[2]
    return f"{scheme}{authority.rpartition('@')[2]}{re.split('[?#]', rest, maxsplit=1)[0]}"
