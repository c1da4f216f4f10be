"""The form that starts a run, as people see it: both of the dashboard's UIs in a real browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from typing import Any

import pytest
from pages_server import DEADLINE, Browse
from playwright.sync_api import Locator, Page, expect
from service import until
from test_review_form import FIRST, SECOND

from models.profiles import ROOT
from models.settings import StoryboardOptions

STORY = "Aldar Köse outwits the khan"


def ask(url: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/api/{path}", data, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def deployed(pages_server: str) -> str:
    """A server that knows all deployments, and that no worker asks for runs."""
    own = os.environ | {"PREFECT_API_URL": f"{pages_server}/api", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "deployments.bootstrap"]
    made = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return pages_server


def opened(page: Page, url: str, ui: str) -> None:
    """The form of storyboard/steppe."""
    deployment = ask(url, "deployments/name/storyboard/steppe")["id"]
    page.goto(f"{url}{ui}/deployments/deployment/{deployment}/run")
    page.get_by_role("button", name="Submit").wait_for()


def field(page: Page, value: str) -> Locator:
    """The first input that shows this value."""
    inputs = page.locator("input")
    page.wait_for_function(
        "value => [...document.querySelectorAll('input')].some(one => one.value === value)", arg=value
    )
    return next(one for one in inputs.all() if one.input_value() == value)


@pytest.mark.parametrize("ui", [FIRST, SECOND], ids=["first UI", "second UI"])
def test_the_form_explains_every_option_refuses_a_wrong_one_and_starts_a_run(
    deployed: str, browse: Browse, ui: str
) -> None:
    before = ask(deployed, "flow_runs/count", {})

    def look(page: Page) -> None:
        opened(page, deployed, ui)
        for option in StoryboardOptions.model_fields.values():
            assert option.description
            expect(page.get_by_text(option.description, exact=True).first).to_be_attached(timeout=DEADLINE * 1000)
        page.locator("textarea").first.fill(STORY)
        field(page, "6").fill("99")
        page.get_by_role("button", name="Submit").click()
        if ui == SECOND:  # there the browser itself says so, beside the field
            assert re.search(r"\b24\b", field(page, "99").evaluate("one => one.validationMessage"))
        else:
            expect(page.get_by_text(re.compile("maximum of 24")).first).to_be_visible(timeout=DEADLINE * 1000)
        assert ask(deployed, "flow_runs/count", {}) == before
        field(page, "99").fill("2")
        page.get_by_role("button", name="Submit").click()
        until(lambda: ask(deployed, "flow_runs/count", {}) > before)

    browse(look)
    run, *others = ask(deployed, "flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC"})
    assert len(others) == before
    assert (run["work_pool_name"], run["work_queue_name"], run["state_type"]) == ("gpu", "interactive", "SCHEDULED")
    assert run["parameters"]["story"] == STORY
    assert run["parameters"]["options"]["frames"] == 2
