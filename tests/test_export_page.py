"""The web page: all text is text, nothing is fetched, and everything that a panel says is on it."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from exported_boards import ARABIC, KAZAKH, board_of, options
from PIL import Image

from models.export.panels import ExportBoard, ExportTake
from models.export.web_page import write_html
from models.records import Panel, Speech

EVIL = "<script>alert(1)</script>\" onerror='alert(2)' {{ 7*7 }} </style> javascript:x &amp;"


class Reading(HTMLParser):
    """A page's tags with their attributes, and its texts outside script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside: dict[str, str] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        last = self.tags[-1][0] if self.tags else ""
        if last in ("script", "style") and last not in self.inside:
            self.inside[last] = data
        elif data.strip():
            self.texts.append(" ".join(data.split()))

    def all(self, name: str, attribute: str) -> list[str | None]:
        return [attributes.get(attribute) for tag, attributes in self.tags if tag == name]


def page_of(board: ExportBoard) -> Reading:
    file = board.folder / "index.html"
    assert write_html(board, options(), file) == ()
    return Reading(file.read_text("utf-8"))


def test_what_people_write_is_text_wherever_it_stands(tmp_path: Path) -> None:
    panel = Panel(dialogue=(Speech(speaker=EVIL[:60], text=EVIL),), sound=EVIL, notes=EVIL)
    plain = page_of(board_of(tmp_path / "a", "a", panel=Panel(**{**dict(panel), "sound": "a", "notes": "a"})))
    page = page_of(board_of(tmp_path / "b", EVIL, panel=panel, action=EVIL, title=EVIL))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(attributes) for _, attributes in page.tags] == [sorted(attributes) for _, attributes in plain.tags]
    assert page.texts.count(EVIL) == 7  # title twice, caption, speech, action, sound, notes
    assert EVIL in page.all("img", "alt")


def test_nothing_is_fetched_and_only_its_own_script_works(tmp_path: Path) -> None:
    page = page_of(board_of(tmp_path / "b", "a", "b"))
    [policy] = [one for one in page.all("meta", "content") if one and "default-src" in one]
    assert policy is not None
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.inside[name].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    sources = [source for tag in ("img", "script", "link", "iframe") for source in page.all(tag, "src") if source]
    assert [source[:23] for source in sources] == ["data:image/jpeg;base64,"] * 2
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"https?:|@import|url\(", (tmp_path / "b" / "index.html").read_text("utf-8"))


def test_every_field_score_and_take_is_on_the_page(tmp_path: Path) -> None:
    board = board_of(tmp_path / "b", KAZAKH, ARABIC, accepted=False)
    gone, there = (
        ExportTake(picture=path, seed=9, accepted=False) for path in (tmp_path / "gone", board.panels[0].picture)
    )
    second = board.panels[1].model_copy(update={"takes": (gone, there)})
    page = page_of(board.model_copy(update={"panels": (board.panels[0], second)}))
    for text in (
        *(KAZAKH, ARABIC, "2A", "EWS · over the shoulder · dolly · 2.5 s · frame 2 · weak", "Хан:", "Ешқашан!"),
        *("wind and bells", "Snow; no music.", "0:03 – 0:05.5", "image similarity 0.80, prompt 0.31, seed 2"),
        *("reference, prompt 0.31, seed 1", "Earlier takes (1)", "take 1, seed 9, weak", "2 panels, 0:05.5"),
    ):
        assert text in page.texts
    articles = [attributes for tag, attributes in page.tags if tag == "article"]
    assert [(one["data-start"], one["data-end"]) for one in articles] == [("0.0", "3.0"), ("3.0", "5.5")]


@pytest.mark.parametrize(("size", "shown"), [((96, 54), (96, 54)), ((2000, 100), (1600, 80))])
def test_pictures_keep_their_shape(size: tuple[int, int], shown: tuple[int, int], tmp_path: Path) -> None:
    page = page_of(board_of(tmp_path / "b", "a", size=size))
    [_, source] = page.all("img", "src")
    assert source is not None
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
        assert picture.size == shown
