"""Sources of models: a hub repository, a folder, or one .safetensors file."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from dotenv.parser import parse_stream

from models.records import Record

SINGLE = ".safetensors"
OWN_PROFILES = "STORYBOARD_PROFILES_FILE"
"""Variable (environment or `.env`) that names a JSON file of further profiles; see `models.profiles.read_own`."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", re.ASCII)


class Component(Record):
    """The source of one model of a profile."""

    source: str
    """A hub repository ("stabilityai/stable-diffusion-xl-base-1.0"), or the absolute path of a folder or of one
    .safetensors file."""
    revision: str | None = None
    """Commit, tag or branch of a hub repository; None means the current main branch."""
    variant: str | None = None
    """Preferred variant of the weight files ("fp16")."""
    size: int
    """Bytes of a fresh download; 0 for files that ship with this project."""
    files: tuple[str, ...] = ()
    """Patterns of the needed files of a hub repository; empty means those of its layout."""
    pickled: bool = False
    """Whether a pickle (`pytorch_model.bin`) may be read if there are no other weights; uses weights_only."""

    @property
    def is_local(self) -> bool:
        """Whether the source is an absolute path on this machine, not a hub repository."""
        return Path(self.source).is_absolute()

    @property
    def is_file(self) -> bool:
        """Whether the source is one .safetensors file on this machine."""
        return self.is_local and self.source.lower().endswith(SINGLE)


def locate(written: str, *beside: Path) -> tuple[str, str | None]:
    """Parse a source as people write it into (source, revision) of a component.

    An existing path wins. Otherwise owner/name or owner/name@revision is a hub repository, and anything else a path,
    which the preflight reports as missing.

    Args:
        written: a path, relative or absolute, or a repository.
        beside: folders to search for a relative path, in order; a missing path is placed in the last one.
    """
    path = Path(written).expanduser()
    places = [path] if path.is_absolute() else [(folder / path).absolute() for folder in beside]
    for place in places:
        if place.exists():
            return str(place), None
    if _REPOSITORY.fullmatch(written) and not written.lower().endswith(SINGLE):
        repository, _, revision = written.partition("@")
        return repository, revision or None
    return str(places[-1]), None


def own_profiles_file() -> str | None:
    """Return the file of further profiles, from the environment or `.env`; settings.py reports a broken `.env`."""
    if OWN_PROFILES in os.environ:
        return os.environ[OWN_PROFILES]
    with suppress(OSError, UnicodeDecodeError), Path(".env").open(encoding="utf-8") as stream:
        return next((line.value for line in reversed(list(parse_stream(stream))) if line.key == OWN_PROFILES), None)
    return None
