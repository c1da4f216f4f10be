"""Before a run begins: what a machine can't give is one line with the way out, and loopback needs no proxy."""

from __future__ import annotations

import http.server
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from service import free_port
from waiting import until

from deployments import up
from deployments.processes import alive
from flows.commands.server_answers import require_answer
from flows.commands.server_process import take_database
from flows.commands.starting import require_usable_network
from flows.proxies import leave_out_loopback
from models.errors import InputError
from models.profiles import ROOT

STORY = [sys.executable, "-m", "flows.storyboard", "Aldar Köse rests", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "studio.example"}, "studio.example,127.0.0.1,localhost,::1"),
        ({"no_proxy": "localhost, a.example", "NO_PROXY": "b.example"}, "localhost,a.example,127.0.0.1,::1"),
    ],
)
def test_no_proxy_is_asked_for_this_machine(given: dict[str, str], expected: str) -> None:
    environment = dict(given)
    leave_out_loopback(environment)
    assert environment == {"NO_PROXY": expected, "no_proxy": expected}
    leave_out_loopback(environment)
    assert environment["NO_PROXY"] == expected


def test_where_no_proxy_is_asked_at_all_nothing_changes() -> None:
    environment = {"NO_PROXY": "*"}
    leave_out_loopback(environment)
    assert environment == {"NO_PROXY": "*"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SSL_CERT_FILE", "absent.pem", "SSL_CERT_FILE names absent.pem, and there is no such file: correct it, or"),
        ("SSL_CERT_DIR", "absent", "SSL_CERT_DIR names absent, and there is no such file"),
        ("SSL_CERT_FILE", "words.pem", "SSL_CERT_FILE holds no certificates that can be read"),
        ("ALL_PROXY", "socks5://127.0.0.1:1", "ALL_PROXY: a SOCKS proxy needs pip install socksio; correct it, or"),
        ("https_proxy", "ftp://127.0.0.1:1", "https_proxy: no proxy's address; correct it, or unset it"),
    ],
)
def test_what_no_client_can_be_made_with_is_named(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("words.pem").write_text("no certificate")
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as caught:
        require_usable_network()
    assert str(caught.value).startswith(words)


def test_a_usable_network_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    require_usable_network()


class _Page(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.end_headers()
        self.wfile.write(b"<html>" if "page" in self.path else b'"3.9.1"')

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """The address of a server that answers with the status that its path begins with."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/401/api", "requires another password: set PREFECT_API_AUTH_STRING to the server's"),
        ("/200/page", r"is no Prefect server \(status 200\): its address must end with /api"),
        ("/404/page", r"is no Prefect server \(status 404\)"),
        ("/503/api", r"is no Prefect server \(status 503\)"),
    ],
)
def test_a_named_server_must_be_one(path: str, words: str, stranger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = stranger + path
    monkeypatch.setenv("PREFECT_API_URL", url)
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(InputError, match=f"{re.escape(url)}.*{words}"):
        require_answer(get_current_settings())
    with temporary_settings({PREFECT_API_URL: f"{stranger}/200/api"}):
        require_answer(get_current_settings())


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"PREFECT_API_URL": "http://joe:pw-canary@127.0.0.1:9/api"},
            r"no Prefect server answers at http://127.0.0.1:9/api, which PREFECT_API_URL names \(ConnectError\): ",
        ),
        ({"PREFECT_CLIENT_MAX_RETRIES": "many"}, "Prefect's settings can't be read: max_retries: .*, got 'many'"),
        ({"PREFECT_PROFILE": "nobody"}, "PREFECT_PROFILE names 'nobody', and there is no such profile: correct it, or"),
        (
            {"PREFECT_PROFILES_PATH": "garbage.toml"},
            "Prefect's settings can't be read: .*: correct PREFECT_… in the env",
        ),
        ({"PREFECT_HOME": "/proc/nobody"}, "/proc/nobody, where Prefect keeps its results, is not writable: no such"),
    ],
)
def test_a_start_that_fails_is_one_line(environment: dict[str, str], words: str) -> None:
    own = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    Path("garbage.toml").write_text("= no profile")
    done = subprocess.run(STORY, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(f"error: {words}.*\n", done.stderr), done.stderr
    assert done.stdout == ""
    assert "pw-canary" not in done.stderr


# --- temporary servers


def test_each_temporary_server_has_a_database_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, lock = take_database(tmp_path)
    second, other = take_database(tmp_path)
    assert first != second
    lock.release()
    again, held = take_database(tmp_path)
    assert again == first
    assert held.is_locked
    other.release()
    second.write_text("no database" * 1000)
    with pytest.raises(SystemExit):
        take_database(tmp_path)
    assert f"{second} is not a usable database (file is not a database): remove it" in capsys.readouterr().err


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_temporary_server_ends_with_what_started_it(end: signal.Signals) -> None:
    starter = (
        "import time; from prefect.settings import get_current_settings as settings;"
        "from flows.commands.temporary_server import TemporaryServer;"
        "server = TemporaryServer(settings()); print(server.process.pid, flush=True); time.sleep(1000)"
    )
    command, own = [sys.executable, "-c", starter], {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        server = int(process.stdout.readline())
        assert alive([server])
        process.send_signal(end)
    until(lambda: not alive([server]))


def test_a_folder_has_one_service() -> None:
    up.LOGS.mkdir(parents=True)
    with FileLock(up.LOGS / ".lock"), pytest.raises(InputError, match="a service already runs in this folder"):
        up.up(free_port(), 1)


@pytest.mark.parametrize(
    ("said", "way_out"),
    [
        ("(sqlite3.DatabaseError) file is not a database", "; move prefect.db in PREFECT_HOME (~/.prefect) away, or "),
        (
            "Can't locate revision identified by 'ab12'",
            "; the database was made by a later Prefect: install that, or mo",
        ),
        ("something else", ""),
    ],
)
def test_a_server_that_can_not_use_its_database_is_told_with_the_way_out(said: str, way_out: str) -> None:
    up.LOGS.mkdir(parents=True)
    (up.LOGS / "server.log").write_text(f"Traceback:\nsome.module.AnError: {said}\n\nServer stopped!\n")
    words = up.last_words_of("server")
    assert words.startswith(f"some.module.AnError: {said} (see outputs/service/server.log){way_out}")
    assert "\n" not in words


# --- Ctrl-C


STUBBORN = """
import time
from flows.commands import running, starting
starting.start = lambda check, paints: None

def make():
    try:
        print("began", flush=True)
        time.sleep(1000)
    except KeyboardInterrupt:
        print("notes", flush=True)
        time.sleep(1000)

running.run(running.Run("__main__:make", (), "run it again", lambda: None))
"""


def test_the_third_ctrl_c_ends_what_does_not_end() -> None:
    own = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", STUBBORN], env=own, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "began\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "notes\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith("ending: ")
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "error: interrupted and ended at once; run it again\n"
    assert process.returncode == 130
