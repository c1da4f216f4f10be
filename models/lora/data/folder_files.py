"""What lies in a folder of training pictures: all its files, the parts they are read by, and why a file is not used.

001.png   001.txt             pictures beside each other, or
10_hero man/  1_hero hat/     kohya's folders: how often a pass shows each picture, and words that are the caption
                              of those without one
train/  test/  validation/    the splits of Hugging Face's datasets, of which train is used
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from models.lora.data.pictures import SUFFIXES

CAPTION_SUFFIXES = (".txt", ".caption")
METADATA = ("metadata.jsonl", "metadata.csv")
TRAIN = "train/"
MOST_REPEATS = 999
"""Most repeats that a folder's name can ask for. A larger number before the name is a year, for example."""
UNREAD = frozenset(
    (
        ".jxl",
        ".psd",
        ".psb",
        ".svg",
        ".tga",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".raf",
        ".orf",
        ".rw2",
        ".exr",
        ".hdr",
        ".ico",
        ".icns",
        ".ppm",
        ".pgm",
        ".pnm",
        ".pcx",
        ".xcf",
        ".kra",
        ".clip",
        ".eps",
        ".ai",
        ".pdf",
        ".qoi",
        ".jxr",
        ".wdp",
        ".bpg",
        ".dds",
    )
)
"""Endings of pictures that are not read here."""

HIDDEN = "hidden, or the system's own"
IN_SUBFOLDER = (
    f"in a subfolder that is not read; call it as kohya does, 1_name (1 to {MOST_REPEATS} times in a pass), or name it "
    "as the folder of the pictures"
)
MASK = "-masklabel"
"""What OneTrainer appends to a picture's name for its mask."""
TABLES = (".json", ".jsonl", ".csv", ".parquet")
"""Endings of files that may hold captions, for another program."""

_SYSTEM = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin"})
_KOHYA = re.compile(r"(\d+)_(.*)")


class Part(NamedTuple):
    """A folder whose pictures are read."""

    folder: str
    """With a slash behind it; the training folder itself is empty."""
    repeats: int = 1
    words: str = ""
    """Caption of its pictures without one."""


class PassedOver(NamedTuple):
    """A file that is not used."""

    name: str
    reason: str


def list_files(root: Path) -> dict[str, Path]:
    """All files below the folder by their names, relative and with forward slashes, sorted.

    Links are followed, also those to folders; one that leads to nothing counts as a file, so that it is told. Of a
    hidden folder only its own name is listed, with a slash behind it.

    Raises:
        OSError: a folder can't be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    found: dict[str, Path] = {}
    seen = set()
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        seen.add(os.path.realpath(folder))
        left_out = (Path(folder, name) for name in subfolders if _is_systems(name))
        hidden = {f"{path.relative_to(root).as_posix()}/": path for path in left_out}
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not _is_systems(name) and os.path.realpath(Path(folder, name)) not in seen  # a link to above
        )
        found |= {Path(folder, name).relative_to(root).as_posix(): Path(folder, name) for name in names}
        found |= hidden
    return dict(sorted(found.items()))


def is_picture(name: str) -> bool:
    """Whether its name says that it is a picture of a kind that is read, and no hidden one."""
    return _suffix(name) in SUFFIXES and not is_hidden(name)


def is_unread_picture(name: str) -> bool:
    """Whether its name says that it is a picture of a kind that is not read."""
    return _suffix(name) in UNREAD and not is_hidden(name)


def is_caption(name: str) -> bool:
    """Whether its name says that it is the caption of a picture."""
    return _suffix(name) in CAPTION_SUFFIXES and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Whether it is hidden, in a hidden folder, or the system's own."""
    return any(_is_systems(part) for part in name.split("/"))


def composed(name: str) -> str:
    """The name in the form in which names are compared (NFC): macOS writes й as two characters."""
    return unicodedata.normalize("NFC", name)


def stem_of(name: str) -> str:
    """A file's name without its last ending and with its folder, as it is compared."""
    return composed(name.removesuffix(PurePosixPath(name).suffix))


def parent_of(name: str) -> str:
    """The folder of a file's name, with a slash behind it, or nothing."""
    return name[: name.rfind("/") + 1]


def parts_of(files: Collection[str]) -> list[Part]:
    """The folders whose pictures are read: the folder itself or its `train`, and kohya's folders below."""
    at_root = {name for name in files if "/" not in name}
    has_own = any(is_picture(name) for name in at_root) or not at_root.isdisjoint(METADATA)
    base = Part(TRAIN if not has_own and any(is_picture(name) for name in files if name.startswith(TRAIN)) else "")
    if any(base.folder + name in files for name in METADATA):
        return [base]  # a metadata file names the pictures in subfolders itself
    below = {parent_of(name) for name in files if is_picture(name)}
    parts = (_kohya_part(folder) for folder in sorted(below) if parent_of(folder[:-1]) == base.folder)
    return [base, *(part for part in parts if part)]


def repeats_in(name: str) -> int:
    """How often a pass shows a picture of this name: what its folder says."""
    part = _kohya_part(parent_of(name))
    return part.repeats if part else 1


def _kohya_part(folder: str) -> Part | None:
    match = _KOHYA.fullmatch(PurePosixPath(folder).name)
    if not match or not 1 <= int(match[1][:9]) <= MOST_REPEATS:
        return None
    return Part(folder, int(match[1]), " ".join(match[2].split()))


def passed_over(files: Collection[str], used: Collection[str], parts: Collection[Part]) -> list[PassedOver]:
    """The files that are not used, each with the reason."""
    kept = set(used)
    lists = {part.folder: _metadata_in(files, part.folder) for part in parts}
    return [PassedOver(name, _reason(name, lists)) for name in files if name not in kept]


def _metadata_in(files: Collection[str], folder: str) -> str | None:
    return next((name for name in METADATA if folder + name in files), None)


def _reason(name: str, lists: Mapping[str, str | None]) -> str:
    """Why the file is not used.

    Args:
        name: of the file.
        lists: folder that is read -> its metadata file, if it has one; the first holds the others.
    """
    base, folder = next(iter(lists)), parent_of(name)
    metadata = lists[base] or lists.get(folder)
    picture = is_picture(name) or is_unread_picture(name)
    reasons = {
        HIDDEN: is_hidden(name),
        f"not in {base}, which is what is trained on": not name.startswith(base),
        f"not listed in {metadata}": metadata is not None and picture,
        f"{metadata} has the captions": metadata is not None and is_caption(name),
        IN_SUBFOLDER: metadata is None and folder not in lists,
        "a mask, and masks are not used": stem_of(name).endswith(MASK),
        "no picture has its name": is_caption(name),
        "a picture of the same name is used": picture,
        f"captions are read from {', '.join((*CAPTION_SUFFIXES, *METADATA))}": _suffix(name) in TABLES,
    }
    return next((reason for reason, holds in reasons.items() if holds), "no picture and no caption")


def grouped(passed: Collection[PassedOver], most: int = 10) -> dict[str, str]:
    """The files that are not used, by reason, as lines for a log: how many, the reason, the first `most` names."""
    reasons = dict.fromkeys(one.reason for one in passed)
    lines = {}
    for reason in reasons:
        names = [printable(one.name) for one in passed if one.reason == reason]
        more = f" and {len(names) - most} more" if len(names) > most else ""
        lines[reason] = f"{len(names)} not used ({reason}): {', '.join(names[:most])}{more}"
    return lines


def printable(text: str) -> str:
    """The text in one line that UTF-8 can hold."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())


def pictures_below(files: Collection[str], used: Collection[str]) -> dict[str, int]:
    """Subfolders with pictures that are not used, and how many each has; of kohya's the folder that holds them."""
    counts: Counter[str] = Counter()
    for name in files:
        if is_picture(name) and name not in used and "/" in name:
            folder = parent_of(name)
            counts[(_kohya_part(folder) and parent_of(folder[:-1])[:-1]) or folder[:-1]] += 1
    return dict(counts)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _is_systems(part: str) -> bool:
    return part.startswith(".") or part.lower() in _SYSTEM
