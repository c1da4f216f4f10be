"""A review as people see it: both of the dashboard's UIs in a real browser, from the question to the finished board."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from answers import Question
from flow_runs import Stage, scenes_of
from pages_server import Browse, runs_on
from playwright.sync_api import Locator, Page, expect
from prefect.client.orchestration import SyncPrefectClient, get_client
from test_review import talk
from waiting import DEADLINE, until

FIRST, SECOND = "", "/v2"


TRIES = 3


def opened(page: Page, ui: str, question: Question) -> Locator:
    """The form of a waiting run."""
    page.goto(f"{ui}/runs/flow-run/{question.run.id}")
    if ui == SECOND:
        page.locator("button[aria-haspopup=menu]").first.click()
        page.get_by_role("menuitem", name="Resume").click()
        return page.get_by_role("dialog")
    page.get_by_role("button", name="Resume").first.click()
    return page.locator(".p-modal")


def asked(page: Page, question: Question) -> bool:
    """Whether the run still waits for this answer."""
    state = page.request.get(f"/api/flow_runs/{question.run.id}").json()["state"]
    return state["type"] == "PAUSED" and bool(state["state_details"]["run_input_keyset"]["schema"] == question.key)


def reply(page: Page, ui: str, question: Question, fill: Callable[[Locator], object]) -> None:
    """Fill in the form and send it; anew where it has lost what was entered, as the second UI's does now and then."""
    for _ in range(TRIES):
        form = opened(page, ui, question)
        fill(form)
        form.get_by_role("button", name="Resume" if ui == SECOND else "Submit").click()
        with contextlib.suppress(AssertionError):
            until(lambda: not asked(page, question), within=DEADLINE / TRIES)
            return
    raise AssertionError(f"the form was not taken:\n{form.aria_snapshot()}")


@pytest.fixture
def stage(tiny_profile: None, tmp_path: Path) -> Stage:
    """An empty place to run the flow in, without a server of its own."""
    return Stage(tmp_path / "outputs")


@pytest.fixture
def client(pages_server: str) -> Iterator[SyncPrefectClient]:
    """A client of the server with pages, which is told of all that happens meanwhile; the tests' own is not."""
    with runs_on(pages_server), get_client(sync_client=True) as client:
        yield client


@pytest.mark.parametrize("ui", [FIRST, SECOND], ids=["first UI", "second UI"])
def test_scenes_and_frames_are_approved_in_the_browser(
    stage: Stage, client: SyncPrefectClient, browse: Browse, ui: str
) -> None:
    def edit(form: Locator, question: Question) -> None:
        changes = form.locator("textarea")
        expect(changes).to_have_count(1, timeout=DEADLINE * 1000)
        expect(changes).to_have_value(question.shown("changes"))
        changes.fill("1 caption: He sleeps.")
        expect(changes).to_have_value("1 caption: He sleeps.")

    def redo(form: Locator, _: Question) -> None:
        sheet = form.get_by_role("img", name="contact sheet")
        expect(sheet).to_be_visible(timeout=DEADLINE * 1000)
        assert sheet.evaluate("image => image.naturalWidth") > 1000
        form.get_by_role("button", name="Add item").click()
        frame = form.locator("input").first
        frame.fill("2")
        expect(frame).to_have_value("2")

    def accept(form: Locator, _: Question) -> None:
        expect(form.get_by_role("img", name="contact sheet")).to_be_visible(timeout=DEADLINE * 1000)

    def in_browser(fill: Callable[[Locator, Question], None]) -> Callable[[Question], None]:
        return lambda question: browse(lambda page: reply(page, ui, question, lambda form: fill(form, question)))

    ran = talk(stage, client, *map(in_browser, (edit, redo, accept)), review="all")
    assert scenes_of(ran).scenes[0].caption == "He sleeps."
    assert [frame.seed for frame in ran.report.frames] == [42, 2052, 3042]
