"""A browser plays the films."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pages_server import Browse
from playwright.sync_api import Page
from test_export_forms import with_panels
from test_film import FILMS, film
from written_boards import write_board

LOOK = """video => new Promise((done, fail) => {
    video.onerror = () => fail(video.error.message)
    video.onseeked = () => {
        const canvas = document.createElement('canvas')
        canvas.width = canvas.height = 1
        const context = canvas.getContext('2d')
        context.drawImage(video, 0, 0, 1, 1)
        done([video.duration, video.videoWidth, video.videoHeight, video.currentTime])
    }
    const seek = () => { video.currentTime = 1.5 }
    video.readyState >= 1 ? seek() : video.onloadedmetadata = seek
})"""


@pytest.mark.parametrize("name", FILMS)
def test_a_browser_plays_a_film_from_any_place(browse: Browse, name: str, tmp_path: Path) -> None:
    file = film(with_panels(write_board(tmp_path, width=96, height=64), *[{"seconds": 0.75}] * 3), name)
    page_file = file.with_name("page.html")
    page_file.write_text(f'<!doctype html><video src="{file.name}" preload="auto" muted></video>', "utf-8")
    found: list[Any] = []

    def look(page: Page) -> None:
        page.goto(page_file.as_uri())
        found.extend(page.locator("video").evaluate(LOOK))

    browse(look)
    duration, width, height, at = found
    assert duration == pytest.approx(2.25, abs=0.05)
    assert (width, height) == (1080, 720)
    assert at == pytest.approx(1.5, abs=0.05)
