"""What a search in a PDF finds: the letters of its pages by each font's /ToUnicode, and which fonts it holds."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import NamedTuple

_ESCAPED = re.compile(rb"\\([nrtbf()\\]|[0-7]{1,3})")
_PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


class Pdf(NamedTuple):
    pages: list[str]
    """Letters of each page, in the order in which they are drawn: from left to right."""
    sizes: list[tuple[float, float]]
    """Width and height of each page in points."""
    pictures: list[tuple[float, float]]
    """Width and height of each picture where it is drawn, in points."""
    embedded: list[bool]
    """For each font, whether the file holds it."""


def read_pdf(file: Path) -> Pdf:
    """Read a PDF as fpdf2 writes it."""
    objects = _objects(file)
    fonts = {name: _letters(objects, number) for name, number in _fonts(objects).items()}
    pages = [one for one in objects.values() if re.search(rb"/Type /Page\b(?!s)", one)]
    drawn = [_stream(objects[_number(page, b"Contents")]) for page in pages]
    default = next(found for one in objects.values() if (found := _box(one)))
    return Pdf(
        pages=["".join(_words(content, fonts)) for content in drawn],
        sizes=[_box(page) or default for page in pages],
        pictures=[
            (float(m[1]), float(m[2]))
            for content in drawn
            for m in re.finditer(rb"q ([\d.]+) 0 0 ([\d.]+) [\d.]+ [\d.]+ cm /I\d+ Do", content)
        ],
        embedded=[b"/FontFile" in one for one in objects.values() if b"/Type /FontDescriptor" in one],
    )


def letters_of(file: Path) -> list[dict[bytes, str]]:
    """Return each font's table of codes and letters."""
    objects = _objects(file)
    return [_letters(objects, number) for number in _fonts(objects).values()]


def _objects(file: Path) -> dict[int, bytes]:
    return {int(m[1]): m[2] for m in re.finditer(rb"(?s)(\d+) 0 obj\n(.*?)\nendobj", file.read_bytes())}


def _number(text: bytes, key: bytes) -> int:
    found = re.search(rb"/" + key + rb" (\d+) 0 R", text)
    assert found, (key, text)
    return int(found[1])


def _box(page: bytes) -> tuple[float, float] | None:
    found = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", page)
    return (float(found[1]), float(found[2])) if found else None


def _stream(text: bytes) -> bytes:
    head, _, rest = text.partition(b"stream\n")
    data = rest.removesuffix(b"\nendstream")
    return zlib.decompress(data) if b"/FlateDecode" in head else data


def _fonts(objects: dict[int, bytes]) -> dict[bytes, int]:
    return {m[1]: int(m[2]) for one in objects.values() for m in re.finditer(rb"/(F\d+) (\d+) 0 R", one)}


def _letters(objects: dict[int, bytes], number: int) -> dict[bytes, str]:
    """Code -> letters, of a font."""
    table = _stream(objects[_number(objects[number], b"ToUnicode")])
    pairs = re.findall(rb"<([0-9A-Fa-f]{4})> <([0-9A-Fa-f]+)>\n", table)
    return {bytes.fromhex(code.decode()): bytes.fromhex(text.decode()).decode("utf-16-be") for code, text in pairs}


def _words(content: bytes, fonts: dict[bytes, dict[bytes, str]]) -> list[str]:
    """A saved state (q … Q) keeps the font that was set before it."""
    font, words, saved = b"", list[str](), list[bytes]()
    tokens = rb"(?s)/(F\d+) [\d.]+ Tf|\(((?:[^\\()]|\\.)*)\) Tj|(BT [\d.]+ [\d.]+ Td)|(?<![^\s])(q|Q)(?!\S)"
    for m in re.finditer(tokens, content):
        if m[1]:
            font = m[1]
        elif m[3]:
            words.append("\n")
        elif m[4] == b"q":
            saved.append(font)
        elif m[4] == b"Q":
            font = saved.pop()
        else:
            codes = _ESCAPED.sub(lambda e: _PLAIN.get(e[1], e[1]), m[2])
            words += [fonts[font][codes[i : i + 2]] for i in range(0, len(codes), 2)]
    return words
