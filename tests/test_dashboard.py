"""What people see: the dashboard's pages in a real browser, served by a real Prefect server, without the internet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pages_server
import pytest
import tiny_models
from playwright.sync_api import Browser, Locator, Page, Request, expect
from tiny_evaluation import CHARACTER, UNRELATED
from training_runs import draw_pictures
from waiting import DEADLINE, until

from models.board.directory import REPORT_FILE
from models.board.pages import report_markdown, score_rows
from models.board.report import Report
from models.profiles import PROFILES, ROOT, Profile

browser = pages_server.browser

STORY = "Aldar Köse says <b>no</b> | a *rich* merchant [pays](/nowhere)"
TOLD, TRAINED = f"{STORY[:60]}…", "tiny_hero from pictures"
"""Names of the runs."""
ASKED_ANYWAY = {"sr-client-cfg.amplitude.com"}
"""Prefect's second UI asks this host for settings even where analytics are off, and does without an answer."""


@dataclass(frozen=True)
class Dashboard:
    """A server, and the storyboard that it knows."""

    url: str
    board: Path

    def ask(self, path: str, **body: Any) -> Any:
        data, headers = json.dumps(body).encode(), {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/{path}", data, headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def artifact(self, key: str) -> str:
        """Path of the newest one's page: the server may know other runs too."""
        own = self.ask("artifacts/filter", flow_runs={"name": {"any_": [TOLD, TRAINED]}})
        shown = sorted(own, key=lambda artifact: str(artifact["created"]))
        found = {artifact["key"]: artifact["id"] for artifact in shown}
        return f"artifacts/artifact/{found[key]}"

    @property
    def report(self) -> Report:
        return Report.model_validate_json((self.board / REPORT_FILE).read_bytes())


@pytest.fixture(autouse=True)
def _tiny_profile(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of the tiny profile can be read here too."""
    monkeypatch.setitem(PROFILES, "tiny", tiny_models.made_once(tmp_path_factory))


@pytest.fixture(scope="module")
def dashboard(pages_server: str, tmp_path_factory: pytest.TempPathFactory) -> Dashboard:
    """Of a storyboard and a training, made at the same time, since most of either is imports."""
    world = tiny_models.made_once(tmp_path_factory)
    with ThreadPoolExecutor() as people:
        training = people.submit(train, pages_server, world, tmp_path_factory.mktemp("training"))
        board = tell(pages_server, world, tmp_path_factory.mktemp("boards"))
    training.result()
    return Dashboard(pages_server, board)


def tell(server: str, world: Profile, folder: Path) -> Path:
    """A storyboard of three frames, the later ones weak after two attempts."""
    options = ["--profile=tiny", "--frames=3", "--steps=2", "--attempts=2", "--threshold=1", "--prompt-threshold=-1"]
    return folder / run(server, world, folder, "flows.commands.storyboard", *options, "--", STORY)


def train(server: str, world: Profile, folder: Path) -> None:
    """Eight updates, with a checkpoint every four."""
    pictures = draw_pictures(folder / "pictures", 8)
    options = ["--profile=tiny", "--rank=4", "--alpha=2", "--max-train-steps=8", "--checkpointing-steps=4"]
    options += ["--train-batch-size=2", "--validation-seeds=1", f"--train-data-dir={pictures}", "--name=tiny_hero"]
    options += ["--publish-anyway"]  # a base of random numbers: no checkpoint passes the comparison
    for name, texts in (("validation", CHARACTER), ("unrelated", UNRELATED)):
        options += [part for text in texts for part in (f"--{name}-prompts", text)]
    run(server, world, folder, "flows.commands.training", *options)


def run(server: str, world: Profile, folder: Path, module: str, *arguments: str) -> str:
    """What a command with the profile "tiny" printed last, on this server."""
    command = [sys.executable, str(ROOT / "tests/tiny_command.py"), module, world.base.source, *arguments]
    environment = os.environ | {"PREFECT_API_URL": f"{server}/api", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module", params=["", "/v2"], ids=["first UI", "second UI"])
def window(request: pytest.FixtureRequest, browser: Browser, dashboard: Dashboard) -> Iterator[Page]:
    """A window of one of the server's two UIs, which asks nothing but the server and keeps what it loads."""
    context = browser.new_context(
        base_url=f"{dashboard.url}{request.param}/",
        viewport={"width": 1400, "height": 1100},
        reduced_motion="reduce",
    )
    asked: set[str | None] = set()

    def note(request: Request) -> None:
        if not request.url.startswith((f"{dashboard.url}/", "data:", "blob:")):
            asked.add(urlsplit(request.url).hostname)

    context.on("request", note)  # a route would keep the browser from keeping what it has loaded
    context.set_default_timeout(DEADLINE * 1000)
    yield context.new_page()
    context.close()
    assert asked <= ASKED_ANYWAY


def opened(window: Page, path: str) -> Page:
    """The window, once it has loaded this page."""
    window.goto(path)
    return window


def texts(cells: Locator) -> list[str]:
    return [" ".join(text.split()) for text in cells.all_inner_texts()]


def expect_in_time(read: Callable[[], Any], expected: Any) -> None:
    """Wait until the page shows `expected`: both UIs draw a text anew while the rest of their page arrives."""
    end = time.monotonic() + DEADLINE
    while (shown := read()) != expected and time.monotonic() < end:
        time.sleep(0.1)
    assert shown == expected


def size_shown(picture: Locator) -> tuple[int, int]:
    """Width and height that a loaded picture takes on the page."""
    picture.wait_for()
    picture.page.wait_for_function("() => [...document.images].every(image => image.complete)")
    assert picture.evaluate("image => image.naturalWidth") > 0, "the browser could not read the picture"
    box = until(picture.bounding_box)  # None while the page is drawn anew
    return int(box["width"]), int(box["height"])


def test_the_contact_sheet_is_shown(window: Page, dashboard: Dashboard) -> None:
    page = opened(window, dashboard.artifact("contact-sheet"))
    picture = page.get_by_role("img", name="contact sheet")
    width, height = size_shown(picture)
    assert picture.evaluate("image => image.naturalWidth") == 1200
    assert width > 600
    assert height > 200


def test_every_attempt_is_a_row_of_scores(window: Page, dashboard: Dashboard) -> None:
    page = opened(window, dashboard.artifact("scores"))
    expected = score_rows(dashboard.report)
    expect(page.locator("tbody tr")).to_have_count(5, timeout=DEADLINE * 1000)
    expect_in_time(lambda: texts(page.locator("thead th")), list(expected[0]))
    rows = [[str(cell) for cell in row.values()] for row in expected]
    expect_in_time(lambda: [texts(row.locator("td")) for row in page.locator("tbody tr").all()], rows)
    seeds = [["1", "1", "42"], ["2", "1", "2042"], ["2", "2", "2052"], ["3", "1", "3042"], ["3", "2", "3052"]]
    assert [row[:3] for row in rows] == seeds
    assert (rows[0][3], rows[0][5], rows[0][6]) == ("reference", "not found", "accepted")
    assert sorted(row[6] for row in rows[1:3]) == ["refused", "weak, kept"]


def test_the_report_has_its_headings_and_shows_a_story_as_it_was_written(window: Page, dashboard: Dashboard) -> None:
    page = opened(window, dashboard.artifact("report"))
    report = dashboard.report
    own = [report.title, "Frames", "Scenes and prompts", "Time"]
    headings = page.locator("h1, h2").filter(visible=True)
    expect_in_time(lambda: [words for words in texts(headings) if words in own], own)
    expect(page.locator("body")).to_contain_text(str(dashboard.board))
    for frame in report.frames:
        expect(page.get_by_text(frame.scene.caption, exact=True)).to_be_visible()
    expect(page.locator("body")).to_contain_text(STORY)
    assert page.locator('a[href$="/nowhere"]').count() == 0
    frames, seconds = page.locator("table").nth(0), page.locator("table").nth(1)
    states = [["1", "accepted"], ["2", "weak"], ["3", "weak"]]
    expect_in_time(lambda: [texts(row.locator("td"))[:2] for row in frames.locator("tbody tr").all()], states)
    expect(frames.locator("th")).to_have_count(6)
    expect_in_time(lambda: texts(seconds.locator("tbody td:first-child"))[: len(report.seconds)], list(report.seconds))
    assert "## Frames" in report_markdown(report, dashboard.board)


def test_the_run_shows_its_frames_as_task_runs(window: Page, dashboard: Dashboard) -> None:
    (run,) = dashboard.ask("flow_runs/filter", flow_runs={"name": {"any_": [TOLD]}})
    page = opened(window, f"runs/flow-run/{run['id']}")
    page.get_by_text("Task Runs", exact=True).click()
    for frame in dashboard.report.frames:
        name = f"frame {frame.number}: {frame.scene.action[:60]}"
        expect(page.get_by_role("link", name=name)).to_be_visible(timeout=DEADLINE * 1000)
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("loss-curve", "Loss up to step 8"),
        ("checkpoint-grid", "checkpoints side by side"),
        ("training-pictures", "training pictures"),
    ],
)
def test_the_pictures_of_a_training_are_shown(window: Page, dashboard: Dashboard, key: str, name: str) -> None:
    page = opened(window, dashboard.artifact(key))
    picture = page.get_by_role("img", name=name).first
    assert min(size_shown(picture)) > 100


def test_the_table_of_checkpoints_says_which_was_chosen_and_why(window: Page, dashboard: Dashboard) -> None:
    page = opened(window, dashboard.artifact("checkpoints"))
    expect(page.locator("tbody tr")).to_have_count(2, timeout=DEADLINE * 1000)
    expect_in_time(
        lambda: sorted(row.locator("td").first.inner_text() for row in page.locator("tbody tr").all()), ["4", "8"]
    )
    expect(page.locator("tbody").get_by_text("chosen")).to_have_count(1)
    page = opened(window, dashboard.artifact("checkpoint-grid"))
    expect(page.locator("body")).to_contain_text("Every checkpoint paints the same prompts with the same seeds")
