"""The store of finished work, so that no work is done or paid for twice.

    <output_dir>/.store/
        scenes/3f/3f8a….json        a record; its name is the key, a hash of all inputs
        pictures/91/91c0….json      a picture's entry: its sha256, seed and scores
        png/5d/5d11….png            the picture itself, named by the sha256 of its bytes

Files are written atomically, and an entry after the picture that it names. So neither a kill nor concurrent processes
leave an unfinished entry that reads as finished. If two processes finish the same key, the later entry wins. After the
folder is deleted, the work is done again.
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
from models.records import Record
from models.scores import Scores
from models.storage.files import local_errors, sha256_of, write_atomically

logger = logging.getLogger(__name__)

FOLDER = ".store"
PICTURES = "pictures"
_VERSION = 1  # raise it when the meaning of a key or an entry changes; all older entries then count as absent

R = TypeVar("R", bound=BaseModel)


class Painted(Record):
    """A picture in the store whose sha256 was just checked."""

    file: str
    """Absolute path of its PNG."""
    sha256: str
    seed: int
    scores: Scores
    run: str
    """The run that painted it."""


class _PictureEntry(Record):
    """A picture's entry on disk. It has no path, so that an output directory can be moved."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    seed: int
    scores: Scores
    run: str


def content_key(kind: str, **parts: Any) -> str:
    """Return the key of a piece of work: sha256 (64 hex digits) of all its inputs.

    Args:
        kind: what is made ("scenes", "pictures"); equal parts of different kinds get different keys.
        parts: names and JSON values; a record counts as the dictionary of its fields.

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
    """Finished work under one folder. Stateless, and safe for several threads and processes at once.

    Args:
        root: the store's folder; the first `put` creates it.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()

    @classmethod
    def within(cls, output_dir: str | Path) -> Self:
        """Return the store of this output directory."""
        return cls(Path(output_dir) / FOLDER)

    def get(self, kind: str, key: str, model: type[R]) -> R | None:
        """Return the record of this key, or None.

        An entry that can't be read, belongs to another key or does not fit `model` counts as absent, with a warning.
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
            logger.warning("%s is ignored, and its work is done again: %s", path, _reason(error))
            return None

    def put(self, kind: str, key: str, record: BaseModel) -> None:
        """Write a finished record; an earlier one of the same key is replaced.

        Raises:
            StorageError: the disk is full, or the folder is not writable.
        """
        content = {"version": _VERSION, "kind": kind, "key": key, "record": record.model_dump(mode="json")}
        write_atomically(self._entry(kind, key), json.dumps(content, ensure_ascii=False, indent=1).encode())

    def forget(self, kind: str, key: str) -> None:
        """Delete the key's entry, if it exists. A picture's PNG stays, since other entries may name it.

        Raises:
            StorageError: the folder is not writable.
        """
        path = self._entry(kind, key)
        with local_errors(path):
            path.unlink(missing_ok=True)

    def get_picture(self, key: str) -> Painted | None:
        """Return the picture of this key after checking its sha256; None if it is absent or was changed."""
        entry = self.get(PICTURES, key, _PictureEntry)
        if entry is None:
            return None
        path = self.png_path(entry.sha256)
        try:
            found = sha256_of(path)
        except StorageError as error:
            logger.warning("picture %s is ignored, and is painted again: %s", path, _reason(error))
            return None
        if found != entry.sha256:
            logger.warning("picture %s was changed after it was painted (sha256 %s), and is painted again", path, found)
            return None
        return Painted(file=str(path), **dict(entry))

    def put_picture(self, key: str, png: bytes, *, seed: int, scores: Scores, run: str = "") -> Painted:
        """Write a finished picture with its seed, its scores and the name of the run that painted it.

        Raises:
            StorageError: the disk is full, or the folder is not writable.
        """
        entry = _PictureEntry(sha256=hashlib.sha256(png).hexdigest(), seed=seed, scores=scores, run=run)
        path = self.png_path(entry.sha256)
        write_atomically(path, png)
        self.put(PICTURES, key, entry)
        return Painted(file=str(path), **dict(entry))

    def _entry(self, kind: str, key: str) -> Path:
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", kind), f"not a kind: {kind!r}"
        assert re.fullmatch(r"[0-9a-f]{64}", key), f"not a content_key: {key!r}"
        return self.root / kind / key[:2] / f"{key}.json"

    def png_path(self, sha256: str) -> Path:
        """Return where the picture with this sha256 is, if the store has it."""
        return self.root / "png" / sha256[:2] / f"{sha256}.png"


def _reason(error: Exception) -> str:
    """Return in one line why a stored entry is ignored."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error)
