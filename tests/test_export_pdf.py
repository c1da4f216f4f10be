"""The PDF of a board: its words can be searched in any script, nothing is cut, and no picture is stretched."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from exported_boards import ARABIC, CHINESE, FULL, KAZAKH, RUSSIAN, board_of, options
from pdf_reading import Pdf, letters_of, read_pdf
from test_typefaces import listed, machine, square_font

from models.export.panels import ExportBoard
from models.export.pdf import write_pdf
from models.records import Panel, Speech

__all__ = ["machine"]
A4, LETTER = (841.89, 595.28), (792, 612)


def pdf_of(board: ExportBoard, **given: object) -> Pdf:
    """The board's PDF, made without a warning."""
    file = board.folder / "board.pdf"
    assert write_pdf(board, options(**given), file) == ()
    return read_pdf(file)


def flat(text: str) -> str:
    return " ".join(text.split())


def test_captions_of_four_scripts_are_found_and_their_fonts_are_in_the_file(machine: Path, tmp_path: Path) -> None:
    machine.write_text(listed(square_font(tmp_path / "sans.ttf", CHINESE)))
    pdf = pdf_of(board_of(tmp_path / "b", KAZAKH, RUSSIAN, ARABIC, f"{CHINESE} Aldar", title=f"{KAZAKH} {CHINESE}"))
    title, page = map(flat, pdf.pages)
    assert KAZAKH in title
    assert CHINESE in title
    for text in (KAZAKH, RUSSIAN, f"{CHINESE} Aldar"):
        assert text in page
    assert all(letter in page for letter in "الدركوسه")  # drawn from left to right: its words stand backwards
    assert pdf.embedded == [True] * 3


def test_a_line_after_letters_of_another_font_keeps_its_own(machine: Path, tmp_path: Path) -> None:
    machine.write_text(listed(square_font(tmp_path / "sans.ttf", CHINESE)))
    caption = f"{CHINESE * 4} Aldar " + "laughs and goes his way over the steppe " * 3
    assert flat(caption) in flat(pdf_of(board_of(tmp_path / "b", caption), panels_per_page=6).pages[1])


def test_arabic_letters_are_joined(tmp_path: Path) -> None:
    """A letter at a word's beginning, in its middle and at its end has glyphs of its own."""
    joined, apart = (len(drawn(tmp_path / name, text)) for name, text in (("a", "ببب"), ("b", "ب ب ب")))
    assert joined == apart + 2


def drawn(folder: Path, caption: str) -> set[bytes]:
    """The codes of the letter beh in the PDF, one for each glyph that it is drawn with."""
    pdf_of(board_of(folder, caption))
    return {code for font in letters_of(folder / "board.pdf") for code, text in font.items() if text == "ب"}


def test_what_no_font_has_is_named_in_one_warning(tmp_path: Path) -> None:
    board = board_of(tmp_path / "b", "阿尔", "达 🐫 阿", title="达")
    (warning,) = write_pdf(board, options(), tmp_path / "b.pdf")
    assert warning.startswith("The PDF lacks characters that no font here has (达阿尔🐫). Install one with them")
    assert "□□" in read_pdf(tmp_path / "b.pdf").pages[1]


def test_every_field_is_on_the_page(tmp_path: Path) -> None:
    board = board_of(tmp_path / "b", "Aldar bows.", "He laughs.", accepted=False)
    title, page = map(flat, pdf_of(board).pages)
    assert title == "The khan Aldar outwits the khan 2 panels, 0:05.5"
    for words in (
        "1 · MS · eye level · static · 3 s · weak",
        "2A · EWS · over the shoulder · dolly · 2.5 s · frame 2 · weak",
        "He laughs. Aldar: A fair swap? Хан: Ешқашан! Action: is bowing Sound: wind and bells Notes: Snow; no music.",
        "2 / 2",
    ):
        assert words in page


@pytest.mark.parametrize("panels", [1, 3, 5, 12])
@pytest.mark.parametrize("orientation", ["portrait", "landscape"])
def test_a_page_has_as_many_panels_as_are_asked_for(panels: int, orientation: str, tmp_path: Path) -> None:
    board = board_of(tmp_path / "b", *("Aldar bows to the khan and laughs." for _ in range(13)))
    pdf = pdf_of(board, panels_per_page=panels, orientation=orientation)
    assert len(pdf.pages) == 1 + math.ceil(13 / panels)
    assert all(page.count("eye level") <= panels for page in pdf.pages)
    assert [flat(page).split(" 1 /")[0][:8] for page in pdf.pages] == ["The khan"] * len(pdf.pages)


@pytest.mark.parametrize(("paper", "size"), [("A4", A4), ("Letter", LETTER)])
@pytest.mark.parametrize("orientation", ["portrait", "landscape"])
def test_the_paper_is_the_one_that_is_asked_for(
    paper: str, size: tuple[float, float], orientation: str, tmp_path: Path
) -> None:
    pdf = pdf_of(board_of(tmp_path / "b", "a"), paper=paper, orientation=orientation)
    wide = size if orientation == "landscape" else size[::-1]
    assert [(round(width), round(height)) for width, height in pdf.sizes] == [(round(wide[0]), round(wide[1]))] * 2


@pytest.mark.parametrize("size", [(96, 54), (54, 96), (64, 64), (200, 20), (20, 200)])
def test_a_picture_of_any_shape_is_whole_and_not_stretched(size: tuple[int, int], tmp_path: Path) -> None:
    board = board_of(tmp_path / "b", "a", "b", "c", size=size)
    for count in (1, 12):
        pdf = pdf_of(board, panels_per_page=count)
        assert len(pdf.pictures) == 4  # the first is on the title page too
        for width, height in pdf.pictures:
            assert width / height == pytest.approx(size[0] / size[1], rel=0.01)
            assert width < A4[0]
            assert height < A4[1]


def test_words_without_room_go_on_on_the_next_page(tmp_path: Path) -> None:
    speech = Speech(speaker="Aldar", text=" ".join(f"word{count}" for count in range(60)))
    long = FULL.model_copy(update={"dialogue": (speech,) * 12, "notes": "End of the notes."})
    board = board_of(tmp_path / "b", "Aldar bows.", "He laughs.", "They go.", panel=long)
    pdf = pdf_of(board, panels_per_page=12)
    text = flat(" ".join(pdf.pages))
    assert text.count("word59") == 3 * 12
    assert text.count("End of the notes.") == 3
    assert "1, continued" in text
    assert f"{len(pdf.pages)} / {len(pdf.pages)}" in pdf.pages[-1]


@pytest.mark.parametrize("letter", ["W", "阿", "-", "ب"])
def test_a_thousand_letters_without_a_space_are_written(letter: str, tmp_path: Path) -> None:
    board = board_of(tmp_path / "b", "Aldar bows.", panel=Panel(notes=letter * 1000))
    warnings = write_pdf(board, options(panels_per_page=12), tmp_path / "b.pdf")
    pages = read_pdf(tmp_path / "b.pdf").pages
    assert [f"({letter})" in warning for warning in warnings] == ([True] if letter == "阿" else [])
    assert sum(page.count("□" if letter == "阿" else letter) for page in pages) >= 1000
    assert len(pages) < 5


@pytest.mark.parametrize("caption", ["{nb} **bold** __u__ ~~x~~ [a](b)", "(\\) %d \\n", "a\u202eb", "x" * 300])
def test_people_s_text_is_text(caption: str, tmp_path: Path) -> None:
    page = flat(pdf_of(board_of(tmp_path / "b", caption, panel=Panel())).pages[1])
    assert caption.replace("\u202e", "")[:20] in page.replace("\u202e", "")
