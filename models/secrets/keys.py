"""Keys and addresses of outside services, read from the environment or `.env`; never flow parameters."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from dotenv import dotenv_values
from pydantic import BeforeValidator, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.secrets.redaction import learn, learn_address, learn_all

ENV_FILE = ".env"
AWS_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_QUOTES = re.compile(r"([\"'])(.*)\1", re.DOTALL)
_PEM_OF_A_KEY = "PRIVATE KEY"
_NOT_IN_A_KEY = re.compile(r"[^!-~]")
"""Everything but printable ASCII without spaces: keys travel in HTTP's headers (RFC 9110, section 5.5)."""


def _tidy(value: object) -> object:
    """Strip white space and quotes around a value, which come from files and clipboards."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        return value
    stripped = value.strip()
    quoted = _QUOTES.fullmatch(stripped)
    return (quoted[2].strip() if quoted else stripped) or None


Secret = Annotated[SecretStr | None, BeforeValidator(_tidy)]
Text = Annotated[str | None, BeforeValidator(_tidy)]


class Keys(BaseSettings):
    """Keys and endpoints of outside services. Creating this record registers them for redaction."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True)

    openai_api_key: Secret = None
    openai_base_url: Text = None
    aws_access_key_id: Secret = None
    aws_secret_access_key: Secret = None
    aws_session_token: Secret = None
    aws_endpoint_url: Text = None
    aws_region: Text = None
    aws_default_region: Text = None
    aws_profile: Text = None
    storyboard_c2pa_cert: Text = None
    """Path of the certificates that sign what is painted."""
    storyboard_c2pa_key: Text = None
    """Path of their key's file, whose content is registered for redaction."""

    def model_post_init(self, _: Any) -> None:
        """Register these keys, and the other secrets of this process, for redaction."""
        for name in ("openai_api_key", *AWS_KEYS):
            learn(self.reveal(name))
        for address in (self.openai_base_url, self.aws_endpoint_url):
            learn_address(address)
        self._learn_signing_key()
        learn_environment()

    def _learn_signing_key(self) -> None:
        """Register the lines of the key's file, or of a key that stands where its path should."""
        key = self.storyboard_c2pa_key or ""
        lines = key.splitlines() if _PEM_OF_A_KEY in key else _lines_of(key)
        if any(_PEM_OF_A_KEY in line for line in lines):
            for line in lines:
                learn(None if line.startswith("-----") else line.strip())

    def reveal(self, name: str) -> str | None:
        """Return the key in clear text, or None if it is unset or empty."""
        secret: SecretStr | None = getattr(self, name)
        return secret.get_secret_value() or None if secret else None


def learn_environment() -> None:
    """Register for redaction the secrets in the environment, in `.env`, and in AWS's and the hub's files."""
    learn_all(os.environ)
    with suppress(OSError, UnicodeDecodeError):  # models/settings.py reports an unreadable file
        learn_all(dotenv_values(ENV_FILE))
    # Files in which boto and huggingface_hub look for keys; their environment variables can move them.
    hub = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    aws = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    for file in (aws, os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config", f"{hub}/stored_tokens"):
        for line in _lines_of(file):  # by itself, so that a broken line does not hide the others
            name, *value = re.split(r"\s*[=:]\s*", line.strip(), maxsplit=1)
            learn_all({name: value[0]} if value else {})
    for token in _lines_of(os.environ.get("HF_TOKEN_PATH") or f"{hub}/token"):
        learn(token.strip())


def _lines_of(file: str) -> list[str]:
    """Lines of a file; none if it is missing, not readable, or there is no home: then no library reads it either."""
    with suppress(OSError, RuntimeError):
        return Path(file).expanduser().read_text("utf-8", errors="replace").splitlines()
    return []


def find_key_problem(keys: Keys, names: Iterable[str]) -> str | None:
    """Return why one of these keys can't be sent in an HTTP header, without showing it, or None."""
    for name in names:
        wrong = _NOT_IN_A_KEY.search(keys.reveal(name) or "")
        if wrong:
            where = f"at position {wrong.start() + 1}"
            return f"{name.upper()} holds a character that no key has, {where}: copy the key anew"
    return None
