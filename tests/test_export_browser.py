"""The exported web page in a real browser: its player, narrow and wide, and that nothing leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pages_server
import pytest
from exported_boards import ARABIC, KAZAKH, board_of, options
from playwright.sync_api import Browser, Page, Route
from waiting import until

from models.export.web_page import write_html

browser = pages_server.browser

EVIL = "<script>document.title = 'evil'</script><img src=x onerror=\"document.title = 'evil'\">"


@pytest.fixture(params=[(390, 844, "dark"), (1280, 900, "light")], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page of three panels, with what it asks for and complains of."""
    board = board_of(tmp_path / "b", EVIL, KAZAKH, ARABIC)
    write_html(board, options(), tmp_path / "index.html")
    width, height, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    asked, complaints = list[str](), list[str]()

    def only_the_page(route: Route) -> None:
        asked.append(route.request.url)
        route.continue_()

    page.route(lambda url: not url.startswith("data:"), only_the_page)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "index.html").as_uri())
    yield page
    assert asked == [(tmp_path / "index.html").as_uri()]
    assert complaints == []
    assert page.title() == "The khan"
    page.close()


def test_the_player_is_moved_by_the_keyboard(page: Page) -> None:
    page.get_by_role("button", name="Play", exact=True).click()
    where, said, play = page.locator("#where"), page.locator("#said"), page.locator("#play")
    assert play.inner_text() == "Pause"
    page.keyboard.press(" ")
    assert play.inner_text() == "Play"
    assert (where.inner_text(), said.inner_text()) == ("shot 1 · 1 / 3", EVIL)
    page.keyboard.press("ArrowRight")
    assert (where.inner_text(), said.inner_text()) == ("shot 2A · 2 / 3", "Aldar: A fair swap?\nХан: Ешқашан!")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert (where.inner_text(), said.inner_text()) == ("shot 3 · 3 / 3", ARABIC)
    page.keyboard.press("ArrowLeft")
    assert where.inner_text() == "shot 2A · 2 / 3"
    assert page.locator("#time").evaluate("bar => bar.value") == 3
    page.keyboard.press(" ")
    until(lambda: where.inner_text() == "shot 3 · 3 / 3")
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_every_picture_is_seen_and_the_page_is_no_wider_than_the_window(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shapes = page.locator(".picture img").evaluate_all(
        "all => all.map(one => [one.naturalWidth, one.width / one.height])"
    )
    assert [(width, round(shape, 1)) for width, shape in shapes] == [(96, 1.8)] * 3
    assert page.locator("dialog").is_hidden()
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(27, 24, 21)" if dark else "rgb(250, 246, 237)")
