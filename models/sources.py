"""Where a model comes from: a hub repository, a folder, or one .safetensors file."""

from __future__ import annotations

import re
from pathlib import Path

from models.records import Record

SINGLE = ".safetensors"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", re.ASCII)


class Component(Record):
    """Where one model of a profile comes from."""

    source: str
    """A hub repository ("stabilityai/stable-diffusion-xl-base-1.0"), or the absolute path of a folder or of one
    .safetensors file."""
    revision: str | None = None
    """Commit, tag or branch of a hub repository; None means its main branch as it is on that day."""
    variant: str | None = None
    """Variant of the weight files ("fp16") that is taken where there is one."""
    size: int
    """Bytes that a fresh download takes on disk; 0 for what ships with this project."""
    files: tuple[str, ...] = ()
    """Patterns of a hub repository's files that are needed; empty means what its layout says."""
    pickled: bool = False
    """The weights may be a pickle (`pytorch_model.bin`) where there are no others; it is read with weights_only."""

    @property
    def is_local(self) -> bool:
        """Whether this lies on this machine (an absolute path) rather than in a hub repository."""
        return Path(self.source).is_absolute()

    @property
    def is_file(self) -> bool:
        """Whether this is one .safetensors file on this machine."""
        return self.is_local and self.source.lower().endswith(SINGLE)


def locate(written: str, *beside: Path) -> tuple[str, str | None]:
    """A source as people write it, as (source, revision) of a component.

    What is there on disk is that; of the rest, what looks like owner/name (or owner/name@revision) is a hub repository,
    and all else a path, which the preflight then finds missing.

    Args:
        written: a path, relative or absolute, or a repository.
        beside: folders in which a relative path is looked for, in that order; the last one is where it then belongs.
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
