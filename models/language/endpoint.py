"""The language model's address: whether it is valid, and whether its server is on this network."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from models.secrets.addresses import without_credentials
from models.secrets.keys import Keys, find_key_problem

OPENAI = "https://api.openai.com/v1"
EXPECTED = "expected one like http://localhost:8000/v1"
OWN_DOMAINS = ("localhost", ".local", ".lan", ".internal", ".home.arpa")
"""Ends of names that no public server has (RFC 6761, 6762, 8375)."""
ANY_KEY = "none"
"""Key sent to a server that needs none: the client does not work without a key."""


def shown(base_url: str | None) -> str:
    """Return the address without user and password, for messages."""
    return without_credentials(base_url or OPENAI)


def find_writer_problem(keys: Keys) -> str | None:
    """Return one line on why no request can be sent (key or address), or None. Sends nothing."""
    problem = find_key_problem(keys, ["openai_api_key"]) or _find_address_problem(keys.openai_base_url)
    if problem or keys.reveal("openai_api_key") or is_on_own_network(keys.openai_base_url):
        return problem
    return "the openai writer needs a key: Set OPENAI_API_KEY in .env, or use --writer offline"


def _find_address_problem(base_url: str | None) -> str | None:
    if base_url is None:
        return None
    named = f"OPENAI_BASE_URL: {shown(base_url)!r}"
    parts = _split(base_url)
    if parts is None or (not parts.netloc.strip(":") and parts.scheme in ("http", "https")):
        return f"{named} is no address; {EXPECTED}"
    if parts.scheme not in ("http", "https"):
        return f"{named} begins with neither http:// nor https://; {EXPECTED}"
    if parts.path.rstrip("/").endswith("/chat/completions"):
        return f"{named} ends in /chat/completions; leave that out"
    return None


def _split(base_url: str) -> SplitResult | None:
    """Return the parts of an address, or None if it has invalid characters or an invalid port."""
    if re.search(r"[^!-~]", base_url.rsplit("@", maxsplit=1)[-1]):
        return None
    try:
        parts = urlsplit(base_url)
        return None if parts.port == 0 else parts
    except ValueError:
        return None


def is_on_own_network(base_url: str | None) -> bool:
    """Whether the server is on this machine or this network; such servers usually need no key."""
    host = _host(base_url)
    if is_loopback(base_url) or (host and "." not in host and ":" not in host) or host.endswith(OWN_DOMAINS):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def is_loopback(base_url: str | None) -> bool:
    """Whether the server is on this machine."""
    host = _host(base_url)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(base_url: str | None) -> str:
    parts = _split(base_url or OPENAI)
    return (parts.hostname or "") if parts else ""
