"""The store of finished work: nothing is paid for twice.

    <output_dir>/.store/
        scenes/3f/3f8a….json        a record, under the key of everything that went into it
        pictures/91/91c0….json      a picture's entry: its sha256, seed and scores
        png/5d/5d11….png            the picture itself, named by the sha256 of its bytes

An entry is written after what it points to, and each file appears under its name whole or not at all. So a kill at any
moment, or several processes at once, leave nothing that reads as finished and is not. Two that finish the same key
both leave a good picture; the later entry wins. Deleting the folder only costs the work again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError

from models.errors import StorageError
from models.records import Record, Scores
from models.storage.files import local_errors, sha256_of, write_atomically

logger = logging.getLogger(__name__)

FOLDER = ".store"
PICTURES = "pictures"
_VERSION = 1  # raise it when the meaning of a key or an entry changes: everything stored before is then absent

R = TypeVar("R", bound=BaseModel)


class Painted(Record):
    """A picture in the store whose bytes were just checked."""

    file: str
    """Absolute path of its PNG."""
    sha256: str
    seed: int
    scores: Scores
    run: str
    """The run that painted it."""


class _PictureEntry(Record):
    """What is written of a picture; not its path, so that an output directory can be moved."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    seed: int
    scores: Scores
    run: str


def content_key(kind: str, **parts: Any) -> str:
    """The key of a piece of work: sha256 (64 hex digits) of everything that decides its result.

    Args:
        kind: what is made ("scenes", "pictures"), so that equal parts of different kinds never meet.
        parts: names and values that JSON can hold; records are taken by their fields.

    Raises:
        TypeError: a part is neither JSON nor a record.
        ValueError: a part is NaN or infinite.
    """
    content = {"kind": kind, "version": _VERSION, "parts": parts}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_fields_of)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _fields_of(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"a key is made of JSON values and records, got {type(value).__name__}")


class Store:
    """Finished work under one folder. Safe for several threads and processes at once; holds no state of its own.

    Args:
        root: the store's folder; it is made with the first thing that is put.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()

    @classmethod
    def within(cls, output_dir: str | Path) -> Self:
        """The store of this output directory."""
        return cls(Path(output_dir) / FOLDER)

    def get(self, kind: str, key: str, model: type[R]) -> R | None:
        """The record that was put under this key, or None.

        What cannot be read, is not JSON, belongs to another key or does not fit `model` counts as absent; one warning
        says so.
        """
        path = self._entry(kind, key)
        try:
            content = json.loads(path.read_bytes())
            if (content["version"], content["kind"], content["key"]) != (_VERSION, kind, key):
                raise ValueError("it was written for something else")
            return model.model_validate(content["record"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            logger.warning("%s does not count, and its work is done again: %s", path, _reason(error))
            return None

    def put(self, kind: str, key: str, record: BaseModel) -> None:
        """Keep a finished record; what was under the key is replaced.

        Raises:
            StorageError: the disk is full, or the folder may not be written.
        """
        content = {"version": _VERSION, "kind": kind, "key": key, "record": record.model_dump(mode="json")}
        write_atomically(self._entry(kind, key), json.dumps(content, ensure_ascii=False, indent=1).encode())

    def forget(self, kind: str, key: str) -> None:
        """Drop what is under the key, if anything is. A picture's PNG stays: others may point to it.

        Raises:
            StorageError: the folder may not be written.
        """
        path = self._entry(kind, key)
        with local_errors(path):
            path.unlink(missing_ok=True)

    def get_picture(self, key: str) -> Painted | None:
        """The picture under this key, its bytes checked against their sha256; None if absent, changed or missing."""
        entry = self.get(PICTURES, key, _PictureEntry)
        if entry is None:
            return None
        path = self._png(entry.sha256)
        try:
            found = sha256_of(path)
        except StorageError as error:
            logger.warning("picture %s does not count, and is painted again: %s", path, _reason(error))
            return None
        if found != entry.sha256:
            logger.warning("picture %s was changed after it was painted (sha256 %s), and is painted again", path, found)
            return None
        return Painted(file=str(path), **dict(entry))

    def put_picture(self, key: str, png: bytes, *, seed: int, scores: Scores, run: str = "") -> Painted:
        """Keep a finished picture with its seed, its scores and the name of the run that painted it.

        Raises:
            StorageError: the disk is full, or the folder may not be written.
        """
        entry = _PictureEntry(sha256=hashlib.sha256(png).hexdigest(), seed=seed, scores=scores, run=run)
        path = self._png(entry.sha256)
        write_atomically(path, png)
        self.put(PICTURES, key, entry)
        return Painted(file=str(path), **dict(entry))

    def _entry(self, kind: str, key: str) -> Path:
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", kind), f"not a kind: {kind!r}"
        assert re.fullmatch(r"[0-9a-f]{64}", key), f"not a content_key: {key!r}"
        return self.root / kind / key[:2] / f"{key}.json"

    def _png(self, sha256: str) -> Path:
        return self.root / "png" / sha256[:2] / f"{sha256}.png"


def _reason(error: Exception) -> str:
    """One line on why something stored does not count."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error)
