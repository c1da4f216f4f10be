"""A real Prefect server with its pages, without a password, and a real browser that looks at them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from databases import put_empty_database
from playwright.sync_api import Browser, Page, Playwright, ViewportSize, sync_playwright
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from service import free_port
from waiting import DEADLINE, until

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"]
QUIET += ["disable-background-networking", "disable-component-update"]
QUIET += ["host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]  # it reaches no other machine
Look: TypeAlias = Callable[[Page], None]
Browse: TypeAlias = Callable[[Look], None]
"""Lets a new page look."""


def launch(playwright: Playwright) -> Browser:
    """A browser, which must be there."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert chromium, f"these tests need a browser, one of {', '.join(BROWSERS)}: apt-get install chromium"
    return playwright.chromium.launch(executable_path=chromium, args=[f"--{name}" for name in QUIET])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module's tests."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@contextmanager
def browsing(url: str) -> Iterator[Browse]:
    """One browser for many looks; in a thread, since Playwright leaves an event loop running, which Prefect minds."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        playwright = thread.submit(lambda: sync_playwright().start()).result()
        try:
            browser = thread.submit(launch, playwright).result()
            # One window keeps the UI that it has loaded. Its pages are closed after a look, since an open one is drawn.
            size: ViewportSize = {"width": 1400, "height": 1500}
            window = thread.submit(browser.new_context, base_url=url, viewport=size, reduced_motion="reduce").result()
            window.set_default_timeout(DEADLINE * 1000)

            def look_once(look: Look) -> None:
                with window.new_page() as page:
                    look(page)

            yield lambda look: thread.submit(look_once, look).result()
            thread.submit(browser.close).result()
        finally:
            thread.submit(playwright.stop).result()


@contextmanager
def runs_on(url: str) -> Iterator[None]:
    """Let this process's runs and clients use that server.

    Prefect sends events by one worker a process, which keeps the first server that it was made for. So it ends before
    and after; otherwise the events of other tests' runs would go to this server, and theirs would never have task runs.
    """
    EventsWorker.drain_all()
    with temporary_settings({PREFECT_API_URL: f"{url}/api"}):
        yield
        EventsWorker.drain_all()


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The address of `prefect server start` with an empty database."""
    put_empty_database(home)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    own = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)
    try:
        until(lambda: _answers(url) or process.poll() is not None)
        assert process.poll() is None, (home / "server.log").read_text("utf-8")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/api/health").close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True
