"""Fonts for any script: a machine's own are found, used, and what none of them has is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from models.board import lettering, typefaces
from models.board.typefaces import Face, find_faces, lacking, own_face, showable

CHINESE = "阿尔达骗商人"
_FIND = typefaces._system_face  # before conftest's fixture replaces it


def square_font(file: Path, letters: str) -> Path:
    """A font that draws each of these letters as a square."""
    pen = TTGlyphPen(None)
    for step, at in (
        (pen.moveTo, (100, 0)),
        (pen.lineTo, (100, 800)),
        (pen.lineTo, (900, 800)),
        (pen.lineTo, (900, 0)),
    ):
        step(at)
    pen.closePath()
    square, names = pen.glyph(), [f"uni{ord(letter):04X}" for letter in letters]
    order = [".notdef", *names]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names, strict=True)})
    builder.setupGlyf(dict.fromkeys(order, square))
    builder.setupHorizontalMetrics(dict.fromkeys(order, (1000, 100)))
    builder.setupHorizontalHeader(ascent=880, descent=-120)
    builder.setupNameTable({"familyName": file.stem, "styleName": "Regular", "psName": file.stem})
    builder.setupOS2()
    builder.setupPost()
    builder.save(file)
    return file


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose fontconfig knows the fonts in a list; the path of that list."""
    program, fonts = tmp_path / "bin" / "fc-list", tmp_path / "fonts.txt"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec cat "{fonts}"\n')
    program.chmod(0o755)
    fonts.write_text("")
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(typefaces, "_system_face", _FIND)
    _FIND.cache_clear()
    return fonts


def listed(file: Path, family: str = "Noto Sans CJK SC", style: str = "Regular", number: int = 0) -> str:
    """A font as fc-list writes it in the asked format."""
    return f"{file}\t{number}\tFalse\t{family}\t{style}\n"


def test_a_font_of_this_machine_writes_what_the_embedded_one_lacks(machine: Path, tmp_path: Path) -> None:
    serif, sans = (square_font(tmp_path / f"{name}.ttf", CHINESE) for name in ("serif", "sans"))
    machine.write_text(listed(serif, "Noto Serif CJK SC") + "nonsense\n" + listed(sans) + listed(sans, style="Black"))
    assert find_faces(["Aldar", CHINESE]) == (own_face(), Face(sans))
    assert find_faces(["Әңғ العربية"]) == (own_face(),)
    assert lettering.face_of(CHINESE) == Face(sans)
    assert lettering.showable(CHINESE) == CHINESE
    assert lettering.lost_letters(CHINESE) == ""
    assert lettering.get_font("regular", 20, Face(sans)).getbbox(CHINESE[0])[2] > 10


def test_a_text_of_two_scripts_is_written_with_the_font_that_lacks_least(machine: Path, tmp_path: Path) -> None:
    machine.write_text(listed(square_font(tmp_path / "sans.ttf", CHINESE)))
    assert lettering.showable("Ab 阿尔达") == "□□ 阿尔达"
    assert lettering.lost_letters("Ab 阿尔达") == "Ab"
    assert lettering.showable("Aldar 阿") == "Aldar □"


@pytest.mark.parametrize("broken", ["no such file", "no font", "none"])
def test_what_no_font_has_is_named_once(broken: str, machine: Path, tmp_path: Path) -> None:
    file = tmp_path / "sans.ttf"
    if broken == "no font":
        file.write_bytes(b"no font")
    machine.write_text("" if broken == "none" else listed(file))
    faces = find_faces(["阿尔阿 🐫", "a\0\u200d"])
    assert faces == (own_face(),)
    assert lacking(["阿尔阿 🐫", "尔a\0"], faces) == "阿尔🐫"
    assert lacking(["阿尔阿 🐫", "尔a\0"], faces, "LMN") == "阿尔"
    assert showable("阿 a🐫\0", faces) == "□ a"


def test_a_machine_without_fontconfig_has_the_embedded_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typefaces, "_system_face", _FIND)
    _FIND.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert find_faces([CHINESE]) == (own_face(),)
