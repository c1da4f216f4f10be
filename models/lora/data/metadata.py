"""Captions of a folder in one file, as Hugging Face's datasets has them: metadata.jsonl or metadata.csv.

Of metadata.jsonl each line is a JSON object; metadata.csv has its columns' names in the first line. Either names a
picture by `file_name`, also in subfolders, with forward slashes, and its caption by another name.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeGuard

from models.errors import InputError
from models.lora.data.folder_files import composed, parent_of, repeats_in
from models.lora.data.picture_folder import Listed, PictureFolder, captions_of, is_text, tell_joined
from models.lora.options import CaptionMode

FILE_NAME = "file_name"

_LINE = 'a line is such as {"file_name": "001.png", "text": "a caption"}'
_FIRST_LINE = "its first line is such as file_name,text"

Entry = dict[str, object]


def list_metadata(
    folder: PictureFolder, files: Mapping[str, Path], lists: Sequence[str], column: str, mode: CaptionMode
) -> set[str]:
    """Add the pictures of a metadata file to the folder's; the names of all files that are used.

    Args:
        folder: in which it stands.
        files: all files of the folder, by name.
        lists: the metadata files of one folder; one of them is read.
        column: name of the caption.
        mode: what several lines of a caption are.
    """
    if len(lists) > 1:
        folder.tell(lists[0], f"{lists[1]} lists captions too; keep one of the two")
        return set(lists)
    text = folder.read_text(lists[0], files[lists[0]])
    if text is None:
        return set(lists)
    reader = _Reader(folder, files, lists[0], column, mode)
    reader.read(text)
    return {*lists, *reader.used}


class _Reader:
    """Reads the entries of one metadata file, and notes its faults in the folder."""

    def __init__(
        self, folder: PictureFolder, files: Mapping[str, Path], source: str, column: str, mode: CaptionMode
    ) -> None:
        self.folder, self.source, self.column, self.mode = folder, source, column, mode
        self.base = parent_of(source)
        self.files = {composed(name): (name, path) for name, path in files.items()}
        self.is_csv = source.endswith(".csv")
        self.example = _FIRST_LINE if self.is_csv else _LINE
        self.first: dict[str, int] = {}
        """Name -> the line that lists it."""
        self.used: set[str] = set()
        self.several: list[str] = []
        """Captions of more than one line."""

    def read(self, text: str) -> None:
        """Read all entries of the file."""
        for number, entry in self._rows(text) if self.is_csv else self._lines(text):
            try:
                self._take(number, entry if isinstance(entry, dict) else _parse_line(entry))
            except InputError as error:
                self.folder.tell(self.source, f"line {number} {error}")
        if not self.first and not self.folder.faults:
            self.folder.tell(self.source, f"lists no pictures; {self.example}; or remove it, and write .txt captions")
        if self.several and self.mode == "joined":
            tell_joined(self.folder, self.several)

    def _lines(self, text: str) -> Iterator[tuple[int, str]]:
        if _is_array(text):
            self.folder.tell(self.source, f"one JSON array; write each of its entries on a line of its own: {_LINE}")
            return
        for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON may hold U+2028 and its like
            if line.strip():
                yield number, line

    def _rows(self, text: str) -> Iterator[tuple[int, Entry]]:
        """Lines of metadata.csv; between the values stand commas, or what else its first line has around file_name."""
        header = text.partition("\n")[0]
        delimiter = next((mark for mark in ",;\t" if FILE_NAME in _split(header, mark)), ",")
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        if FILE_NAME not in (rows.fieldnames or ()):
            self.folder.tell(self.source, f"no column {FILE_NAME} in {_short(header.strip())!r}; {_FIRST_LINE}")
            return
        try:
            for row in rows:
                if None in row:
                    fault = f"line {rows.line_num} has more values than columns; quote a caption that has commas"
                    self.folder.tell(self.source, fault)
                else:
                    yield rows.line_num, {name: value for name, value in row.items() if value is not None}
        except csv.Error as error:
            self.folder.tell(self.source, f"line {rows.reader.line_num} is not CSV: {error}")

    def _take(self, number: int, entry: Entry) -> None:
        """One picture and its caption.

        Raises:
            InputError: no file can have the name it names, or it is listed again.
        """
        name = _name_in(entry, self.example)
        if (before := self.first.setdefault(composed(name), number)) != number:
            raise InputError(f"lists {name} again, as line {before} does; remove one of the two")
        there, path = self.files.get(composed(self.base + name), (None, None))
        if there is None or path is None:
            self.folder.tell(self.base + name, f"no such picture; add it, or remove line {number} of {self.source}")
            return
        self.used.add(there)
        captions = self._captions_in(entry, number)
        source = f"line {number} of {self.source}"
        self.folder.listed.append(Listed(self.base + name, path, captions, source, repeats_in(there)))

    def _captions_in(self, entry: Entry, number: int) -> tuple[str, ...] | None:
        """The entry's captions, or None after its fault was told."""
        caption = entry.get(self.column)
        if isinstance(caption, str) and is_text(caption):
            if len(captions_of(caption, "alternatives")) > 1:
                self.several.append(f"line {number} of {self.source}")
            return captions_of(caption, self.mode)
        if _are_texts(caption) and self.mode != "joined":
            return captions_of("\n".join(" ".join(one.split()) for one in caption), self.mode)
        self.folder.tell(self.source, f"line {number} {self._caption_fault(entry, caption)}")
        return None

    def _caption_fault(self, entry: Entry, caption: object) -> str:
        column = self.column
        if _are_texts(caption):
            return f"has several {column}; set caption_mode to alternatives, or to first"
        if column in entry:
            return f"has the {column} {_value(caption)}, which is no text; write the caption there"
        nearest = difflib.get_close_matches(column, [key for key in entry if key != FILE_NAME], 1, cutoff=0.0)
        way_out = f"did you mean caption_column {nearest[0]}?" if nearest else f"add {column}"
        return f"has no {column}, but {_keys(entry)}; {way_out}"


def _are_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) and is_text(one) for one in value)


def _is_array(text: str) -> bool:
    """Whether the whole file is one array of objects, as other programs write."""
    try:
        return text.lstrip().startswith("[") and isinstance(json.loads(text)[0], dict)
    except (ValueError, LookupError, RecursionError):
        return False


def _split(header: str, mark: str) -> list[str]:
    return [name.strip() for row in csv.reader([header], delimiter=mark) for name in row]


def _parse_line(line: str) -> Entry:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"is not JSON: {_short(line)}; {_LINE}") from None
    if not isinstance(entry, dict):
        raise InputError(f"is no JSON object: {_short(line)}; {_LINE}")
    return entry


def _name_in(entry: Entry, example: str) -> str:
    """The picture's name, normalised. A name that leads out of the folder on any system is refused.

    Raises:
        InputError: it is missing, or no such name.
    """
    if FILE_NAME not in entry:
        raise InputError(f"has no {FILE_NAME}, but {_keys(entry)}; {example}")
    name = entry[FILE_NAME]
    if not isinstance(name, str) or not is_text(name) or not name.strip():
        raise InputError(f"has the {FILE_NAME} {_value(name)}, which is no name; {example}")
    windows = PureWindowsPath(name)
    if windows.drive or windows.root or ".." in windows.parts or "\\" in name or "\0" in name:
        raise InputError(
            f"has the {FILE_NAME} {_value(name)}; it must lie in the folder, with subfolders written with forward "
            "slashes"
        )
    return str(PurePosixPath(name))


def _keys(entry: Entry) -> str:
    return _short(", ".join(entry) or "nothing at all")


def _value(value: object) -> str:
    return _short(json.dumps(value, ensure_ascii=False))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
