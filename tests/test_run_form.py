"""The form that starts a run, as people see it: both of the dashboard's UIs in a real browser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from typing import Any

import pytest
from pages_server import Browse
from playwright.sync_api import Page, expect
from test_review_form import FIRST, SECOND, TRIES
from waiting import DEADLINE, until

from models.forms.form import explain_option
from models.forms.storyboard import FORM as STORYBOARD
from models.profiles import ROOT

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


def opened(page: Page, url: str, ui: str, name: str = "storyboard/steppe") -> None:
    """The form of a deployment."""
    deployment = ask(url, f"deployments/name/{name}")["id"]
    page.goto(f"{url}{ui}/deployments/deployment/{deployment}/run")
    page.get_by_role("button", name="Submit").wait_for()


def newest(url: str) -> dict[str, Any]:
    """The run that was made last."""
    found: list[dict[str, Any]] = ask(url, "flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC"})
    return max(found, key=lambda run: str(run["created"]))


def sent(page: Page, url: str) -> dict[str, Any]:
    """Send the form, and return the run that it makes; sent anew where a click came before the form could be sent."""
    before = ask(url, "flow_runs/count", {})
    for _ in range(TRIES):
        page.get_by_role("button", name="Submit").click()
        with contextlib.suppress(AssertionError):
            until(lambda: ask(url, "flow_runs/count", {}) > before, within=DEADLINE / TRIES)
            return newest(url)
    raise AssertionError(f"the form made no run:\n{page.locator('main, body').first.aria_snapshot()}")


@pytest.mark.parametrize("ui", [FIRST, SECOND], ids=["first UI", "second UI"])
def test_a_form_that_nobody_touched_sets_only_what_its_deployment_does(deployed: str, browse: Browse, ui: str) -> None:
    runs: list[dict[str, Any]] = []

    def look(page: Page) -> None:
        opened(page, deployed, ui)
        page.locator("textarea").first.fill(STORY)
        runs.append(sent(page, deployed))
        opened(page, deployed, ui, "train-lora/gpu")
        runs.append(sent(page, deployed))

    browse(look)
    storyboard, training = runs
    assert storyboard["parameters"] == {"story": STORY, "options": {"profile": "steppe"}}
    assert training["parameters"]["config"] == "configs/training_config.yaml"
    assert training["parameters"].get("options", {}) == {}


@pytest.mark.parametrize("ui", [FIRST, SECOND], ids=["first UI", "second UI"])
def test_the_form_explains_every_option_refuses_a_wrong_one_and_starts_a_run(
    deployed: str, browse: Browse, ui: str
) -> None:
    before, runs = ask(deployed, "flow_runs/count", {}), list[dict[str, Any]]()

    def look(page: Page) -> None:
        opened(page, deployed, ui)
        for schema in STORYBOARD.options.values():
            words = page.get_by_text(explain_option(schema))
            expect(words.first).to_be_attached(timeout=DEADLINE * 1000)
        page.locator("textarea").first.fill(STORY)
        frames = page.locator("input[type=number]").first
        frames.fill("99")
        page.get_by_role("button", name="Submit").click()
        if ui == SECOND:  # there the browser itself says so, beside the field
            assert re.search(r"\b24\b", frames.evaluate("one => one.validationMessage"))
        else:
            expect(page.get_by_text(re.compile("maximum of 24")).first).to_be_visible(timeout=DEADLINE * 1000)
        assert ask(deployed, "flow_runs/count", {}) == before
        frames.fill("2")
        runs.append(sent(page, deployed))

    browse(look)
    [run] = runs
    assert (run["work_pool_name"], run["work_queue_name"], run["state_type"]) == ("gpu", "interactive", "SCHEDULED")
    assert run["parameters"] == {"story": STORY, "options": {"profile": "steppe", "frames": 2}}
