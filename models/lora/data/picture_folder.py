"""A folder of training pictures while it is read: what it lists, its faults, and the files that are not used."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from models.errors import InputError, StorageError
from models.lora.data.folder_files import PassedOver, printable
from models.lora.options import CaptionMode
from models.storage.files import local_errors

log = logging.getLogger("models.lora")


class Listed(NamedTuple):
    """A picture that is to be read."""

    name: str
    """Relative to the folder, with forward slashes."""
    path: Path
    captions: tuple[str, ...] | None
    """One, or several to choose from, each on one line. None if there is none; then the fault is noted."""
    source: str
    """Where the caption stands, for a person who looks for it."""
    repeats: int = 1
    """How often a pass shows it."""


class PictureFolder:
    """A folder of captioned pictures: what it lists, and every fault that was found so far.

    Args:
        value: its path, as a person gave it.
        option: the option that it was given by.
        mark: text after the file's name in each fault.

    Raises:
        InputError: it is missing, or no folder.
        StorageError: it can't be looked at.
    """

    def __init__(self, value: str, option: str, mark: str = "") -> None:
        self.path, self.option, self.mark = Path(value).expanduser().absolute(), option, mark
        self.listed: list[Listed] = []
        self.faults: list[str] = []
        self.passed_over: list[PassedOver] = []
        """Files that are not used."""
        with local_errors(self.path):
            if not self.path.exists():
                raise InputError(f"{option}: no folder {self.path}; make it, or name another")
            if not self.path.is_dir():
                raise InputError(f"{option}: {self.path} is not a folder; name the folder that holds the pictures")

    def tell(self, name: str, fault: str) -> None:
        """Note a fault of the file, in one line that can be printed."""
        self.faults.append(printable(f"{name}{self.mark}: {fault}"))

    def read_text(self, name: str, path: Path) -> str | None:
        """The file's text; None if it can't be read, and then the fault is noted."""
        try:
            with local_errors(path):
                text = path.read_bytes().decode("utf-8-sig")
        except StorageError as error:
            self.tell(name, str(error).removeprefix(f"{path}: "))
        except UnicodeDecodeError as error:
            self.tell(name, f"not UTF-8 text, from byte {error.start} on; save it as UTF-8")
        else:
            if "\0" not in text:
                return text
            self.tell(name, "not UTF-8 text: it holds NUL characters, as UTF-16 does; save it as UTF-8")
        return None


def captions_of(text: str, mode: CaptionMode) -> tuple[str, ...]:
    """The captions in a text: its lines joined, the first of them, or each. An empty text has one empty caption."""
    lines = [" ".join(line.split()) for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    if mode == "joined":
        return (" ".join(lines),)
    return tuple(lines[:1] if mode == "first" else dict.fromkeys(lines)) or ("",)


def tell_joined(folder: PictureFolder, several: Collection[str]) -> None:
    """Say that captions of several lines were joined."""
    log.warning(
        "%s: %d captions have several lines, which are joined (such as %s); caption_mode alternatives shows one of the "
        "lines each time, first the first alone",
        folder.path,
        len(several),
        printable(next(iter(several))),
    )


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8. File names and JSON's escapes can hold lone surrogates, which can't."""
    return not re.search(r"[\ud800-\udfff]", text)
