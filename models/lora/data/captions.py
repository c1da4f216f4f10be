"""Which pictures a folder holds, and where their captions stand; nothing is decoded here.

Captions stand beside the pictures, in 001.txt, 001.caption or 001.png.txt, or in one metadata.jsonl or metadata.csv of
the folder (`models/lora/data/metadata.py`). Which files are read at all is said in `models/lora/data/folder_files.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from models.errors import InputError
from models.lora.data.folder_files import (
    CAPTION_SUFFIXES,
    MASK,
    METADATA,
    Part,
    composed,
    is_caption,
    is_picture,
    is_unread_picture,
    list_files,
    parent_of,
    parts_of,
    passed_over,
    pictures_below,
    printable,
    stem_of,
)
from models.lora.data.metadata import list_metadata
from models.lora.data.picture_folder import Listed, PictureFolder, captions_of, is_text, tell_joined
from models.lora.data.pictures import SUFFIXES
from models.lora.options import CaptionMode
from models.storage.files import local_errors

log = logging.getLogger("models.lora")

KINDS = ", ".join(suffix[1:] for suffix in SUFFIXES)


def list_pictures(folder: PictureFolder, caption_column: str, mode: CaptionMode) -> None:
    """Fill the folder's `listed`, ordered by name, and its `passed_over` with every file that is not used.

    Args:
        folder: to be read.
        caption_column: name of the caption in metadata.
        mode: what several lines of a caption are.

    Raises:
        InputError: there are no pictures.
        StorageError: the folder can't be read.
    """
    with local_errors(folder.path):
        files = list_files(folder.path)
    parts, used = parts_of(files), set[str]()
    for part in parts:
        lists = [part.folder + name for name in METADATA if part.folder + name in files]
        if lists:
            used |= list_metadata(folder, files, lists, caption_column, mode)
        else:
            used |= _list_captioned(folder, files, part, mode)
    folder.listed.sort(key=lambda listed: listed.name)
    folder.passed_over = passed_over(files, used, parts)
    if not folder.listed and not folder.faults:
        raise InputError(f"{folder.option}: {_nothing_in(folder, files, used)}")


def _list_captioned(folder: PictureFolder, files: Mapping[str, Path], part: Part, mode: CaptionMode) -> set[str]:
    """List the part's pictures with the text files beside them; returns the names of all files that are used."""
    here = [name for name in files if parent_of(name) == part.folder]
    beside = _Beside(name for name in here if is_caption(name))
    stems = {stem_of(name) for name in here if is_picture(name)}
    wordless, several, used = [], [], set[str]()
    shared: dict[str, list[str]] = {}
    for name in here:
        is_mask = stem_of(name).endswith(MASK) and stem_of(name).removesuffix(MASK) in stems
        if is_mask or not (is_picture(name) or (is_unread_picture(name) and stem_of(name) not in stems)):
            continue
        used.add(name)
        if not is_text(name):
            folder.tell(name, "its name is not UTF-8; rename it")
            continue
        sources = beside.of(name)
        used.update(sources)
        for source in sources:
            shared.setdefault(source, []).append(name)
        texts = {source: folder.read_text(source, files[source]) for source in sources}
        captions, source = _choose(folder, name, texts, mode)
        if captions is None and not sources and part.words:
            captions, source = (part.words,), f"its folder's name {part.folder[:-1]}"
            wordless.append(name)
        elif not sources:
            folder.tell(name, f"no caption; {beside.way_out(name)}")
        several += [source for text in texts.values() if text and _has_several_lines(text)]
        folder.listed.append(Listed(name, files[name], captions, source, part.repeats))
    _warn(folder, part, used, wordless, several if mode == "joined" else [])
    for source, names in shared.items():
        if len(names) > 1:
            log.warning(
                "%s: %s is the caption of all of %s", folder.path, printable(source), printable(", ".join(names))
            )
    return used


def _choose(
    folder: PictureFolder, name: str, texts: Mapping[str, str | None], mode: CaptionMode
) -> tuple[tuple[str, ...] | None, str]:
    """The captions from the text files beside a picture, and the file that they come from."""
    source = next(iter(texts), "")
    found = {captions_of(text, mode) for text in texts.values() if text is not None}
    if len(found) > 1:
        folder.tell(name, f"captions that differ in {' and '.join(texts)}; keep one")
        return None, source
    return (found.pop() if found else None), source


def _warn(
    folder: PictureFolder, part: Part, used: Collection[str], wordless: Collection[str], several: Collection[str]
) -> None:
    """Say what was made of a folder's name, and of several lines."""
    where = f"{folder.path}/{part.folder}".rstrip("/")
    if part.repeats > 1:
        count = sum(map(is_picture, used))
        log.info("%s: %d pictures, each %d times in a pass, as its name says", where, count, part.repeats)
    if wordless:
        message = "%s: %d pictures have no caption of their own; the folder's words are it: %s"
        log.warning(message, where, len(wordless), part.words)
    if several:
        tell_joined(folder, several)


def _has_several_lines(text: str) -> bool:
    return len(captions_of(text, "alternatives")) > 1


class _Beside:
    """The caption files of a folder, by the pictures they may belong to."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self.by_stem: dict[str, list[str]] = {}
        self.by_small_stem: dict[str, list[str]] = {}
        for name in self.names:
            self.by_stem.setdefault(stem_of(name), []).append(name)
            self.by_small_stem.setdefault(stem_of(name).casefold(), []).append(name)

    def of(self, picture: str) -> list[str]:
        """Caption files of 001.png: 001.txt, 001.caption, 001.png.txt; if there is none, those in other letter case."""
        stems = (stem_of(picture), composed(picture))
        exact = [name for stem in stems for name in self.by_stem.get(stem, [])]
        return exact or [name for stem in stems for name in self.by_small_stem.get(stem.casefold(), [])]

    def way_out(self, picture: str) -> str:
        """What to do about a picture without a caption."""
        wanted = f"{PurePosixPath(picture).stem}.txt"
        twice = {stem_of(picture) + suffix for suffix in CAPTION_SUFFIXES}  # 001.txt.txt
        near = [name for name in self.names if stem_of(name) in twice]
        return f"rename {near[0]} to {wanted}" if near else f"describe the picture in {parent_of(picture)}{wanted}"


def _nothing_in(folder: PictureFolder, files: Collection[str], used: Collection[str]) -> str:
    """What is said of a folder without pictures: what it holds instead."""
    below = pictures_below(files, used)
    if below:
        found = ", ".join(f"{printable(name)} ({count})" for name, count in list(below.items())[:5])
        return (
            f"no pictures in {folder.path} itself, but in its subfolders {found}; name one of them, or call them as "
            "kohya does, such as 1_name"
        )
    there = f"; there is {', '.join(map(printable, list(files)[:3]))}" if files else ""
    return f"no pictures in {folder.path}{there}; it takes {KINDS}, each with a .txt caption"
