"""Reads a screenplay as beats: one action, or one exchange of words, at one place.

`screenplay_tools` parses both formats. Repairs come first: it takes only Latin capitals for a name, leaves marks of
comments in the text, reads only the first run of a styled FDX paragraph, skips dual dialogue, and expands entities.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.storage.files import local_errors

FORMATS = (".fountain", ".fdx")
LARGEST = 2_000_000  # bytes
MOST_SPEECHES = 4
"""Speeches of one beat; a longer exchange takes several."""
_COMMENT = re.compile(r"/\*.*?\*/|\[\[.*?\]\]", re.DOTALL)
_EMPHASIS = re.compile(r"(?<!\\)(\*{1,3}|_)(?=\S)(.+?)(?<=\S)\1")
_CYRILLIC_HEADING = re.compile(r"^\s*(ИНТ|НАТ|ЭКСТ|ІШКІ|СЫРТ)(?:\.|\s)\s*", re.IGNORECASE)
_INDOORS = ("ИНТ", "ІШКІ")


@dataclass
class Words:
    """What one person says."""

    name: str
    text: str
    manner: str = ""
    """Extension or parenthetical: "V.O.", "laughing"."""


@dataclass
class Beat:
    """One moment."""

    heading: str
    """Of its scene: "INT. YURT - NIGHT"; empty before the first."""
    action: str = ""
    speeches: list[Words] = field(default_factory=list)
    opens: bool = False
    """Whether it is the first of its scene."""


@dataclass(frozen=True)
class Screenplay:
    """A screenplay's title and beats."""

    title: str
    beats: tuple[Beat, ...]
    empty: tuple[str, ...]
    """Headings of scenes in which nothing happens."""


def read_screenplay(path: str | Path) -> Screenplay:
    """Return the beats of a .fountain or .fdx file.

    Raises:
        InputError: it is no such file, too large, in an unknown encoding, malformed or empty; in one line.
        StorageError: it can't be read.
    """
    file = Path(path).expanduser()
    ending = file.suffix.casefold()
    if ending not in FORMATS:
        raise InputError(f"{file}: a screenplay ends in {' or '.join(FORMATS)}, got {ending or 'no ending'!r}")
    with local_errors(file):
        size = file.stat().st_size
        data = file.read_bytes() if size <= LARGEST else b""
    if size > LARGEST:
        raise InputError(f"{file}: has {size} bytes, a screenplay at most {LARGEST}; give a part of it")
    script = _parse_fdx(file, data) if ending == ".fdx" else _parse_fountain(file, _decoded(file, data))
    beats, empty = _beats(script)
    if not beats:
        raise InputError(f"{file}: has no action and no dialogue")
    titles = [" ".join(entry.text.split()) for entry in script.titleEntries if entry.key.casefold() == "title"]
    return Screenplay(_plain(next(iter(titles), "")) or file.stem, tuple(beats), tuple(empty))


def _decoded(file: Path, data: bytes) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{file}: is not text: it has NUL characters; save the file as UTF-8")
    return text


def _parse_fountain(file: Path, text: str) -> Any:
    from screenplay_tools.fountain.parser import Parser

    text = _COMMENT.sub("", text)
    for mark, end in (("/*", "*/"), ("[[", "]]")):
        if mark in text:
            line = text[: text.index(mark)].count("\n") + 1
            raise InputError(f"{file}, about line {line}: {mark} is not closed by {end}")
    parser = Parser()
    parser.mergeActions = False
    parser.add_lines(list(_with_marks(text.splitlines())))
    return parser.script


def _with_marks(lines: list[str]) -> Iterator[str]:
    """Yield the lines with Fountain's own marks on headings and names that are not in Latin letters."""
    for index, line in enumerate(lines):
        plain = line.strip()
        heading = _CYRILLIC_HEADING.match(plain)
        alone = index == 0 or not lines[index - 1].strip()
        followed = index + 1 < len(lines) and bool(lines[index + 1].strip())
        if heading:
            kind = "INT" if heading[1].upper() in _INDOORS else "EXT"
            yield f"{kind}. {plain[heading.end() :]}"
        elif alone and followed and plain[:1].isalpha() and not plain[:1].isascii() and _bare(plain).isupper():
            yield f"@{plain}"
        else:
            yield line


def _bare(name: str) -> str:
    return re.sub(r"\(.*?\)", "", name)


def _parse_fdx(file: Path, data: bytes) -> Any:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring
    from screenplay_tools.fdx.parser import Parser

    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException:
        raise InputError(f"{file}: has a document type or entities, which a screenplay does not need") from None
    except ET.ParseError as error:
        raise InputError(f"{file}: is not XML: {error}") from None
    except (LookupError, ValueError) as error:
        raise InputError(f"{file}: is not XML in a known encoding: {' '.join(str(error).split())}") from None
    content = root.find("Content") if root.tag == "FinalDraft" else None
    if content is None:
        raise InputError(f"{file}: is no Final Draft screenplay, which has FinalDraft and Content in it")
    plain = ET.Element("FinalDraft")
    paragraphs = ET.SubElement(plain, "Content")
    for paragraph in content.iter("Paragraph"):
        runs = [text for text in paragraph if text.tag == "Text"]
        if runs:
            one = ET.SubElement(paragraphs, "Paragraph", Type=paragraph.get("Type", "Action"))
            ET.SubElement(one, "Text").text = "".join("".join(run.itertext()) for run in runs)
    return Parser().parse(ET.tostring(plain, encoding="unicode"))


def _beats(script: Any) -> tuple[list[Beat], list[str]]:
    """Return the beats, and the headings of scenes without any."""
    beats: list[Beat] = []
    empty: list[str] = []
    heading, opens, name, manner = "", True, "", ""
    for element in script.elements:
        kind, text = element.type.value, _plain(element.text)
        if kind == "HEADING":
            if heading and opens:
                empty.append(heading)
            heading, opens, name = text, True, ""
        elif kind == "ACTION" and text:
            beats.append(Beat(heading, text, opens=opens))
            opens = False
        elif kind == "CHARACTER":
            name, manner = " ".join(element.name.split()), element.extension or ""
        elif kind == "PARENTHETICAL":
            manner = ", ".join(filter(None, (manner, text)))
        elif kind in ("DIALOGUE", "LYRIC") and text and name:
            if opens or len(beats[-1].speeches) >= MOST_SPEECHES:
                beats.append(Beat(heading, opens=opens))
                opens = False
            beats[-1].speeches.append(Words(name, text, manner))
            manner = ""
    return beats, [*empty, *([heading] if heading and opens else [])]


def _plain(text: str) -> str:
    """Return the text on one line, without Fountain's marks of emphasis."""
    line = " ".join(text.split())
    for _ in range(3):  # marks within marks
        line = _EMPHASIS.sub(r"\2", line)
    return line.replace("\\*", "*").replace("\\_", "_")
