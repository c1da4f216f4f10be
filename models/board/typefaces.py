"""Fonts for letters of any script: the embedded one, then those of this machine, found by fontconfig.

The embedded DejaVu Sans has Latin, Cyrillic, Greek, Arabic, Hebrew and more. Only for a text with other letters the
machine's fonts are looked at, Noto first; so pages without such letters look the same everywhere.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

FONTS = Path(__file__).parent / "fonts"
BOX = "□"
Weight = Literal["regular", "bold"]
_FILES: dict[Weight, str] = {"regular": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}
_LOADABLE = (".ttf", ".ttc", ".otf", ".otc")
_INVISIBLE = ("Cc", "Cs", "Cn", "Co")  # control characters, and code points that are no characters


class Face(NamedTuple):
    """One font of a file."""

    file: Path
    number: int = 0
    """Which one, in a collection (.ttc)."""


def own_face(weight: Weight = "regular") -> Face:
    """Return the embedded font."""
    return Face(FONTS / _FILES[weight])


@functools.lru_cache(maxsize=64)
def _letters_of(face: Face) -> frozenset[int]:
    """Return the code points that have a glyph; none for a file that can't be read."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with face.file.open("rb") as file, TTFont(file, fontNumber=face.number, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (OSError, TTLibError):
        return frozenset()


def can_show(character: str, face: Face) -> bool:
    """Whether the font has a glyph for this character."""
    return ord(character) in _letters_of(face)


def find_faces(texts: Iterable[str], weight: Weight = "regular") -> tuple[Face, ...]:
    """Return the fonts that together show as much of the texts as any font here can; the embedded one is the first."""
    faces = [own_face(weight)]
    for letter in lacking(texts, faces):
        if not any(can_show(letter, face) for face in faces):
            faces += _system_face(letter)
    return tuple(faces)


def lacking(texts: Iterable[str], faces: Sequence[Face], kinds: str = "LMNPS") -> str:
    """Return the characters that none of these fonts has, each once, in order.

    Args:
        texts: any texts.
        faces: the fonts that may be used.
        kinds: which characters count: letters, marks, numbers, punctuation, symbols.
    """
    plain = unicodedata.normalize("NFC", "".join(texts))
    candidates = (each for each in dict.fromkeys(plain) if unicodedata.category(each)[0] in kinds)
    return "".join(
        each
        for each in candidates
        if not any(can_show(each, face) for face in faces) and unicodedata.category(each) not in _INVISIBLE
    )


def showable(text: str, faces: Sequence[Face]) -> str:
    """Return the text on one line, limited to what the fonts can show.

    A letter or digit that they lack becomes a box, so that its loss is visible; emoji and control characters are
    removed.
    """
    kept = (_kept(character, faces) for character in unicodedata.normalize("NFC", " ".join(text.split())))
    return " ".join("".join(kept).split())


def _kept(character: str, faces: Sequence[Face]) -> str:
    category = unicodedata.category(character)
    if category in _INVISIBLE:
        return ""
    if character.isspace() or any(can_show(character, face) for face in faces):
        return character
    return BOX if category[0] in "LN" else ""


@functools.lru_cache(maxsize=1024)
def _system_face(letter: str) -> tuple[Face, ...]:
    """Return this machine's best font with the letter; empty if there is none."""
    faces = sorted(_listed(letter))
    return tuple(face for _, face in faces if can_show(letter, face))[:1]


def _listed(letter: str) -> Iterator[tuple[tuple[bool, ...], Face]]:
    """Yield the fonts that fontconfig lists for the letter, each with its rank: the lowest is the best."""
    program = shutil.which("fc-list")
    if program is None:
        return
    query = f":charset={ord(letter):x}:scalable=true:color=false"
    asked = [program, "--format", "%{file}\t%{index}\t%{variable}\t%{family}\t%{style}\n", query]
    try:
        answer = subprocess.run(asked, capture_output=True, check=False, timeout=30).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return
    for line in answer.decode("utf-8", "replace").splitlines():
        file, index, variable, family, style = [*line.split("\t"), *[""] * 5][:5]
        # The upper half of the index names an instance of a variable font; only its default outlines are used here.
        if file.lower().endswith(_LOADABLE) and index.isdecimal() and int(index) < 2**16:
            regular = any(word in style for word in ("Regular", "Book", "Medium"))
            simplified = "CJK" not in family or "CJK SC" in family
            noto = ("Noto Sans" not in family, "Noto" not in family, "Mono" in family)
            rank = (*noto, not simplified, not regular, variable == "True")
            yield rank, Face(Path(file), int(index))
