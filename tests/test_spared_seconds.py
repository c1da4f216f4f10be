"""What a command leaves out, so that little time passes before and after the painting."""

from __future__ import annotations

import os
import subprocess
import sys
from contextvars import copy_context
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from listening import listening
from PIL import Image

from flows.commands.server_process import OWN, ask_first
from models.profiles import ROOT
from tasks import report
from tasks.progress import Bar, hide_bars, send_later

PROGRAM = """
import atexit, gc, sys
from flows.commands import running, starting
from flows.commands.collecting import run_program
from models.errors import InputError
starting.start = lambda check, **_: print(gc.isenabled(), flush=True) or starting.FOR_TEMPORARY

def make():
    from prefect.settings import get_current_settings
    print(gc.isenabled(), gc.get_freeze_count() > 10_000, get_current_settings().flows.heartbeat_frequency, flush=True)
    atexit.register(print, "its exit handlers are called")
    if sys.argv[1:]:
        raise InputError("no")
    return "here"

run_program(lambda: running.run(running.Run("__main__:make", (), "run it again", lambda: None)))
"""


@pytest.mark.parametrize(("fails", "place", "code"), [([], "here\n", 0), (["yes"], "", 1)])
def test_imports_are_not_collected_and_a_run_that_succeeded_ends_at_once(
    fails: list[str], place: str, code: int
) -> None:
    own = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    done = subprocess.run([sys.executable, "-c", PROGRAM, *fails], env=own, capture_output=True, text=True, check=False)
    assert done.stdout == f"False\nTrue True None\n{place}its exit handlers are called\n"
    assert done.stderr == ("error: no\n" if fails else "")
    assert done.returncode == code


def test_a_temporary_server_has_only_the_services_that_record_a_run() -> None:
    asked = (
        "from prefect.server.services.base import RunInEphemeralServers as Services;"
        "print(*sorted(service.__name__ for service in Services.enabled_services()))"
    )
    done = subprocess.run([sys.executable, "-c", asked], env={**os.environ, **OWN}, capture_output=True, check=True)
    assert done.stdout.decode().split() == ["Distributor", "TaskRunRecorder"]


def test_a_temporary_server_starts_before_what_paints_is_imported() -> None:
    starter = (
        "import sys; from flows.commands import starting, temporary_server;"
        "temporary_server.TemporaryServer.starting = lambda _: print(sorted(sys.modules), flush=True) or sys.exit();"
        "starting.start(lambda: None)"
    )
    own = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": "", "PREFECT_SERVER_EPHEMERAL_ENABLED": "1"}
    done = subprocess.run([sys.executable, "-c", starter], env=own, capture_output=True, text=True, check=True)
    imported = {name.strip("'[],") for name in done.stdout.split()}
    assert "prefect.settings" in imported
    assert not {"torch", "diffusers", "transformers", "peft", "PIL", "prefect.server", "prefect.artifacts"} & imported


def test_a_temporary_server_is_asked_first_by_itself() -> None:
    with listening() as (address, asked):
        ask_first(cast("Any", SimpleNamespace(started=True)), int(address.rpartition(":")[2]))
    assert asked == ["/api/admin/version"]


def test_no_bar_is_sent_to_a_server_without_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[float] = []
    monkeypatch.setattr(Bar, "hidden", False)
    monkeypatch.setattr(Bar, "_send", lambda _, per_cent, __: sent.append(per_cent))
    bar = Bar("frame-1", "Painting frame 1")
    bar.move(25.0)
    hide_bars()
    bar.move(50.0)
    assert sent == [25.0]


def test_a_board_is_shown_when_the_bars_of_its_frames_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def remove_slowly() -> None:
        Event().wait(0.5)  # for the server
        shown.append("bar removed")

    for show in ("show_table", "show_page"):
        monkeypatch.setattr(report, show, lambda key, *_: shown.append(key))
    send_later(copy_context(), remove_slowly)
    report.show_board(cast("Any", SimpleNamespace(frames=[])), Image.new("RGB", (8, 8)))
    assert shown == ["bar removed", "scores", "contact-sheet"]
