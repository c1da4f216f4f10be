"""No secret is anywhere: planted wherever one may stand, told by failures, and looked for in all that a run leaves."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_models

TESTS = Path(__file__).parent
STORY = "Aldar Köse lends his coat to the bai"
CORE = "Canary{}Wq7"
"""The part of each secret that no escaping changes."""
PLANTED = {
    "OPENAI_API_KEY": "sk-proj-{}_+/=",
    "AWS_ACCESS_KEY_ID": "AKIA{}",
    "AWS_SECRET_ACCESS_KEY": "a/{}+w&s=%",
    "CREDENTIALS": "joe:{}",
    "HF_TOKEN": "hf_{}",
    "HTTPS_PROXY": "http://joe:{}@proxy.example:8080",
    "PREFECT_API_AUTH_STRING": "joe:{}",
}
FILE = "AWS_SESSION_TOKEN='{}=='\n"
"""`.env`"""
FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "[default]\naws_secret_access_key = d/{}+=\n\n[other]\naws_session_token=o/{}==\n",
    "HF_TOKEN_PATH": "hf_{}\n",
}
"""What the files hold that these variables name."""
CORES = [CORE.format(number) for number in range(len(PLANTED) + 4)]


@dataclass(frozen=True)
class Left:
    """What the run printed, and the folder with everything that it wrote."""

    console: str
    folder: Path

    def ask(self, query: str) -> list[str]:
        """Rows of one column of the server's database."""
        [file] = (self.folder / "home").rglob("*.db")
        with closing(sqlite3.connect(file)) as database:
            return [str(row[0]) for row in database.execute(query)]

    @property
    def files(self) -> dict[str, bytes]:
        """All files, the database's among them; what is pickled also as it was before it was put into base64."""
        found = [file for file in self.folder.rglob("*") if file.is_file() and file.name != ".env"]
        read = {file.relative_to(self.folder).as_posix(): file.read_bytes() for file in found}
        stored = [name for name in read if name.startswith("home/storage/")]
        return {**read, **{f"{name}, decoded": base64.b64decode(read[name]) for name in stored}}


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """What is left of tests/leaking_flow.py, with a temporary server of its own as a command has it."""
    folder = tmp_path_factory.mktemp("leaks")
    world = tiny_models.made_once(tmp_path_factory)
    options = {"profile": "tiny", "frames": 1, "steps": 1, "prompt_threshold": -1, "device": "cpu", "writer": "openai"}
    given = {"models": world.base.source, "story": STORY, "options": {**options, "output_dir": str(folder / "outputs")}}
    secrets = {name: text.format(core) for (name, text), core in zip(PLANTED.items(), CORES, strict=False)}
    (folder / ".env").write_text(FILE.format(CORES[-1]))
    keys = tmp_path_factory.mktemp("keys")
    unused = iter(CORES[len(PLANTED) :])
    for name, text in FILES.items():
        (keys / name).write_text(text.format(*(next(unused) for _ in range(text.count("{}")))))
        secrets[name] = str(keys / name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    environment |= {**secrets, "PREFECT_HOME": str(folder / "home"), "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, str(TESTS / "leaking_flow.py"), json.dumps(given)]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return Left(ended.stdout + ended.stderr, folder)


def test_all_failures_were_told(left: Left) -> None:
    failures = (TESTS / "leaking_failures.py").read_text("utf-8").count("\n@failing\n")
    assert failures >= 30
    failed = left.ask("SELECT name FROM task_run WHERE state_type = 'FAILED'")
    assert len(failed) == failures, left.console
    assert len(list((left.folder / "outputs").glob("*/report.json"))) == 1, left.console
    assert "RuntimeError: uncaught ***" in left.console
    assert [name for name in left.files if name.endswith("decoded")]  # the flow's own error
    said = left.ask("SELECT message FROM log")
    assert any("a log of ***" in message for message in said)
    assert any("arguments that do not fit" in message for message in said)


@pytest.mark.parametrize("core", CORES)
def test_no_secret_is_left_anywhere(left: Left, core: str) -> None:
    """Console, database (states, logs, artifacts, events, parameters, names), results, boards and the store."""
    inside = [base64.b64encode(b"\0" * start + core.encode()).decode()[4:-4] for start in range(3)]
    forms = [form.encode() for form in (core, *inside)]
    places = {"the console": left.console.encode(), **left.files}
    assert [place for place, content in places.items() if any(form in content for form in forms)] == []


def test_what_is_told_is_told_readably(left: Left) -> None:
    """Each own error still names what is wrong and where."""
    states = left.ask("SELECT message FROM task_run_state WHERE message IS NOT NULL")
    told = "\n".join([*states, *left.ask("SELECT message FROM flow_run_state WHERE message IS NOT NULL")])
    for words in (
        "Incorrect API key provided: ***",
        "OPENAI_API_KEY holds a character that no key has, at position",
        "AWS_SECRET_ACCESS_KEY holds a character that no key has, at position",
        "no connection to 127.0.0.1:9",
        "given by hand: ***",
        "the end of ***",
    ):
        assert words in told
