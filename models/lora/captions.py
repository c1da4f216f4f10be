"""Which pictures a folder holds, and where their captions stand; nothing is decoded here.

Two layouts are read: each picture with a same-named .txt beside it, or, where there is a metadata.jsonl, its lines:
one JSON object each, with `file_name` and the caption. Names may have subfolders there, with forward slashes.
"""

from __future__ import annotations

import difflib
import json
import logging
import re
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from models.errors import InputError, StorageError
from models.lora.pictures import SUFFIXES
from models.storage import local_errors

log = logging.getLogger("models.lora")

METADATA = "metadata.jsonl"
KINDS = ", ".join(suffix[1:] for suffix in SUFFIXES)

_EXAMPLE = 'a line is such as {"file_name": "001.png", "text": "a caption"}'


class Listed(NamedTuple):
    """A picture that is to be read."""

    name: str
    """Relative to the folder, with forward slashes."""
    path: Path
    caption: str | None
    """On one line; None where there is none to be had, which has been told."""
    source: str
    """Where the caption stands, for a person who looks for it."""


class PictureFolder:
    """A folder of captioned pictures: what it lists, and every fault that was found so far.

    Args:
        value: its path, as a person gave it.
        option: the option that it was given by.
        mark: what its faults carry behind the file's name.

    Raises:
        InputError: it is missing, or no folder.
        StorageError: it can't be looked at.
    """

    def __init__(self, value: str, option: str, mark: str = "") -> None:
        self.path, self.option, self.mark = Path(value).expanduser().absolute(), option, mark
        self.listed: list[Listed] = []
        self.faults: list[str] = []
        with local_errors(self.path):
            if not self.path.exists():
                raise InputError(f"{option}: no folder {self.path}; make it, or name another")
            if not self.path.is_dir():
                raise InputError(f"{option}: {self.path} is not a folder; name the folder that holds the pictures")

    def tell(self, name: str, fault: str) -> None:
        """Note a fault of the file, in one line that can be printed."""
        line = " ".join(f"{name}{self.mark}: {fault}".split())
        self.faults.append(line.encode("utf-8", "backslashreplace").decode())

    def list_pictures(self, caption_column: str) -> None:
        """Fill `listed`, ordered by name.

        Args:
            caption_column: name of the caption in metadata.jsonl.

        Raises:
            InputError: there are no pictures.
            StorageError: the folder can't be read.
        """
        with local_errors(self.path):
            if (self.path / METADATA).is_file():
                _list_metadata(self, caption_column)
            else:
                _list_captioned(self)
        self.listed.sort(key=lambda listed: listed.name)
        if not self.listed and not self.faults:
            raise InputError(f"{self.option}: no pictures in {self.path}; it takes {KINDS}, each with a .txt caption")


def is_picture(path: Path) -> bool:
    """Whether its name says that it is a picture."""
    return path.suffix.lower() in SUFFIXES


def _list_captioned(folder: PictureFolder) -> None:
    files = [path for path in sorted(folder.path.iterdir()) if _is_visible_file(path, folder.path)]
    captions = {_composed(path.stem): path for path in files if path.suffix.lower() == ".txt"}
    for path in filter(is_picture, files):
        if not _is_text(path.name):
            folder.tell(path.name, "its name is not UTF-8; rename it")
            continue
        beside = captions.get(_composed(path.stem))
        source = beside.name if beside else f"{path.stem}.txt"
        if beside is None:
            folder.tell(path.name, f"no caption; describe the picture in {source}")
        text = _read_text(folder, beside) if beside else None
        folder.listed.append(Listed(path.name, path, _one_line(text), source))
    described = {_composed(path.stem) for path in filter(is_picture, files)}
    if lonely := [text.name for stem, text in captions.items() if stem not in described]:
        names = ", ".join(map(_printable, lonely[:3]))
        log.warning("%s: %d .txt files have no picture of the same name: %s", folder.path, len(lonely), names)


def _list_metadata(folder: PictureFolder, caption_column: str) -> None:
    present = {
        _composed(path.relative_to(folder.path).as_posix()): path
        for path in sorted(folder.path.rglob("*"))
        if is_picture(path) and _is_visible_file(path, folder.path)
    }
    text = _read_text(folder, folder.path / METADATA)
    if text is None:
        return
    first: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON may hold U+2028 and its like as they are
        if not line.strip():
            continue
        try:
            entry = _parse_line(line)
            name = _name_in(entry)
            if (before := first.setdefault(_composed(name), number)) != number:
                raise InputError(f"lists {name} again, as line {before} does; remove one of the two")
            if path := _find(folder.path / name) or present.get(_composed(name)):
                caption = _caption_in(entry, caption_column, folder, number)
                folder.listed.append(Listed(name, path, caption, f"line {number} of {METADATA}"))
            else:
                folder.tell(name, f"no such picture; add it, or remove line {number} of {METADATA}")
        except InputError as error:
            folder.tell(METADATA, f"line {number} {error}")
    if unlisted := [name for name in present if name not in first]:
        name = _printable(unlisted[0])
        log.warning("%s: %d pictures are not in its %s, such as %s", folder.path, len(unlisted), METADATA, name)
    if not first and not folder.faults:
        folder.tell(METADATA, f"lists no pictures; {_EXAMPLE}; or remove it, and write .txt captions")


def _parse_line(line: str) -> dict[str, object]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"is not JSON: {_short(line)}; {_EXAMPLE}") from None
    if not isinstance(entry, dict):
        raise InputError(f"is no JSON object: {_short(line)}; {_EXAMPLE}")
    return entry


def _name_in(entry: dict[str, object]) -> str:
    """The picture's name in its plainest form. It leaves the folder in no system's way of writing.

    Raises:
        InputError: it is missing, or no such name.
    """
    if "file_name" not in entry:
        raise InputError(f"has no file_name, but {_keys(entry)}; {_EXAMPLE}")
    name = entry["file_name"]
    if not isinstance(name, str) or not _is_text(name) or not name.strip():
        raise InputError(f"has the file_name {_value(name)}, which is no name; {_EXAMPLE}")
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or ".." in windows.parts or "\\" in name or "\0" in name:
        raise InputError(
            f"has the file_name {_value(name)}; it must lie in the folder, with subfolders written with forward slashes"
        )
    return str(PurePosixPath(name))


def _caption_in(entry: dict[str, object], column: str, folder: PictureFolder, number: int) -> str | None:
    """The line's caption, or None after its fault was told."""
    caption = entry.get(column)
    if isinstance(caption, str) and _is_text(caption):
        return _one_line(caption)
    if column in entry:
        fault = f"has the {column} {_value(caption)}, which is no text; write the caption there"
    else:
        others = [key for key in entry if key != "file_name"]
        nearest = difflib.get_close_matches(column, others, 1, cutoff=0.0)
        way_out = f"did you mean caption_column {nearest[0]}?" if nearest else f"add {column}"
        fault = f"has no {column}, but {_keys(entry)}; {way_out}"
    folder.tell(METADATA, f"line {number} {fault}")
    return None


def _read_text(folder: PictureFolder, path: Path) -> str | None:
    """The file's text, or None after its fault was told."""
    try:
        with local_errors(path):
            text = path.read_bytes().decode("utf-8-sig")
    except StorageError as error:
        folder.tell(path.name, str(error).removeprefix(f"{path}: "))
    except UnicodeDecodeError as error:
        folder.tell(path.name, f"not UTF-8 text, from byte {error.start} on; save it as UTF-8")
    else:
        if "\0" not in text:
            return text
        folder.tell(path.name, "not UTF-8 text: it holds NUL characters, as UTF-16 does; save it as UTF-8")
    return None


def _find(path: Path) -> Path | None:
    try:
        return path if path.is_file() else None
    except OSError:  # a name that is too long for any file
        return None


def _is_visible_file(path: Path, folder: Path) -> bool:
    """Not hidden and not in a hidden folder; a link to nothing counts, so that it is told."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and (path.is_file() or not path.exists())


def _is_text(text: str) -> bool:
    """Whether UTF-8 can hold it: a file's name and JSON's escapes can have half a character."""
    return not re.search(r"[\ud800-\udfff]", text)


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _composed(name: str) -> str:
    """The name as it is compared: a Mac writes й as two characters."""
    return unicodedata.normalize("NFC", name)


def _one_line(text: str | None) -> str | None:
    return None if text is None else " ".join(text.split())


def _keys(entry: dict[str, object]) -> str:
    return _short(", ".join(entry) or "nothing at all")


def _value(value: object) -> str:
    return _short(json.dumps(value, ensure_ascii=False))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
