"""A review as people see it: both of the dashboard's UIs in a real browser, from the question to the finished board."""

from __future__ import annotations

import pytest
from flow_runs import Stage, scenes_of
from pages_server import DEADLINE, Browse
from playwright.sync_api import Locator, Page, expect
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from test_review import Question, talk

FIRST, SECOND = "", "/v2"


def opened(page: Page, ui: str, question: Question) -> Locator:
    """The form of a waiting run."""
    page.goto(f"{ui}/runs/flow-run/{question.run.id}")
    if ui == SECOND:
        page.locator("button[aria-haspopup=menu]").first.click()
        page.get_by_role("menuitem", name="Resume").click()
        return page.get_by_role("dialog")
    page.get_by_role("button", name="Resume").first.click()
    return page.locator(".p-modal")


def send(form: Locator, ui: str) -> None:
    """Press the button, and wait until the form has closed: it stays open on an answer that does not fit."""
    form.get_by_role("button", name="Resume" if ui == SECOND else "Submit").click()
    expect(form).to_be_hidden(timeout=DEADLINE * 1000)


@pytest.mark.parametrize("ui", [FIRST, SECOND], ids=["first UI", "second UI"])
def test_scenes_and_frames_are_approved_in_the_browser(
    stage: Stage, pages_server: str, browse: Browse, ui: str
) -> None:
    def edit(question: Question) -> None:
        def look(page: Page) -> None:
            form = opened(page, ui, question)
            caption = form.locator("textarea").nth(1)
            expect(caption).to_have_value(question.shown("scenes")[0]["caption"], timeout=DEADLINE * 1000)
            caption.fill("He sleeps.")
            send(form, ui)

        browse(look)

    def redo(question: Question) -> None:
        def look(page: Page) -> None:
            form = opened(page, ui, question)
            sheet = form.get_by_role("img", name="contact sheet")
            expect(sheet).to_be_visible(timeout=DEADLINE * 1000)
            assert sheet.evaluate("image => image.naturalWidth") > 1000
            form.get_by_role("button", name="Add item").click()
            form.locator("input").first.fill("2")
            send(form, ui)

        browse(look)

    def accept(question: Question) -> None:
        browse(lambda page: send(opened(page, ui, question), ui))

    with temporary_settings({PREFECT_API_URL: f"{pages_server}/api"}), get_client(sync_client=True) as client:
        ran = talk(stage, client, edit, redo, accept, review="all")
        assert scenes_of(ran).scenes[0].caption == "He sleeps."
        assert [frame.seed for frame in ran.report.frames] == [42, 2052, 3042]
