"""Names in `.env`, and which of them look like misspelt ones of ours."""

from __future__ import annotations

import difflib
from pathlib import Path

from dotenv.parser import Original, parse_stream

from models.errors import InputError

NEAR = 0.8  # difflib's ratio from which a name counts as a misspelt known one
FOREIGN = {"OPENAI_ADMIN_KEY", "OPENAI_API_TYPE", "OPENAI_API_VERSION"}  # other programs' names that resemble ours


def names_in(env_file: Path) -> list[str]:
    """Return the names that the file sets. Messages never quote the file, which may hold keys."""
    try:
        with env_file.open(encoding="utf-8") as stream:
            lines = list(parse_stream(stream))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{env_file} can't be read: {(error.strerror or 'unknown').lower()}") from None
    except UnicodeDecodeError:
        raise InputError(f"{env_file} can't be read: it is not UTF-8 text") from None
    for line in lines:
        if line.error or (line.key is not None and line.value is None):
            raise InputError(f"{env_file}, line {_number(line.original)}: not NAME=value")
    return [line.key for line in lines if line.key is not None]


def _number(line: Original) -> int:
    """Return the line number of the statement; the parser includes empty lines before it."""
    text = line.string
    return line.line + text[: len(text) - len(text.lstrip())].count("\n")


def is_nearly(name: str, valid: list[str]) -> bool:
    """Whether an unknown name looks like a misspelt valid one. Other programs' names in `.env` do not."""
    if name in FOREIGN or name.startswith("AWS_ENDPOINT_URL_"):
        return False
    ours = {known.partition("_")[0] for known in valid}
    first = difflib.get_close_matches(name.partition("_")[0], ours, n=1, cutoff=NEAR)
    return bool(first and difflib.get_close_matches(name, valid, n=1, cutoff=NEAR))
