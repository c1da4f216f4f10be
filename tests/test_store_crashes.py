"""Kills at any moment, and others who write at the same time, leave nothing in the store that is not whole."""

from __future__ import annotations

import hashlib
import itertools
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.scores import Scores
from models.storage.content_store import Store, content_key

KEY = content_key("pictures", frame=1)

PRELUDE = """
import itertools, os, signal, sys
from pathlib import Path
import models.storage.content_store, models.storage.files
from models.storage.content_store import Store, content_key
from models.scores import Scores
key, scores = content_key("pictures", frame=1), Scores(consistency=0.5, prompt=0.3)
root = Path(sys.argv[1])
def put(store, data): store.put_picture(key, data, seed=len(data), scores=scores)
"""

KILLED_AT_EVERY_LINE = """
watched = {models.storage.content_store.__file__, models.storage.files.__file__}
def die_at_line(left):
    def trace(frame, event, arg):
        nonlocal left
        if frame.f_code.co_filename not in watched: return None
        left -= event == "line"
        if left == 0: os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
for line in itertools.count(1):
    store = Store(root / str(line))
    if sys.argv[2] == "over": put(store, b"old")
    child = os.fork()
    if child == 0:
        die_at_line(line)
        put(store, b"new picture")
        sys.settrace(None)
        os._exit(0)
    if not os.WIFSIGNALED(os.waitpid(child, 0)[1]): break
print(line)
"""

ONE_AFTER_ANOTHER = """
for number in itertools.count(1):
    store = Store(root / str(number))
    print("begin", number, flush=True)
    put(store, bytes([number]) * (number * 3_000_000))
    print("done", number, flush=True)
"""

SAME_KEY = """
print("ready", flush=True)
sys.stdin.readline()
for number in range(40): put(Store(root), sys.argv[2].encode() * (50_000 + number))
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PRELUDE + script, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def content(store: Store) -> bytes | None:
    """The bytes of the picture under KEY, which must be those that its record promises."""
    painted = store.get_picture(KEY)
    if painted is None:
        return None
    data = Path(painted.file).read_bytes()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (painted.sha256, painted.seed)
    return data


@pytest.mark.parametrize(("before", "start_with"), [("none", None), ("over", b"old")])
def test_killed_at_any_line_the_old_or_the_new_is_there(
    before: str, start_with: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with start(KILLED_AT_EVERY_LINE, str(tmp_path), before) as process:
        lines = int(process.communicate(timeout=60)[0])
    found = [content(Store(tmp_path / str(line))) for line in range(1, lines + 1)]
    assert lines > 20
    assert found == sorted(found, key=lambda data: data == b"new picture")
    assert set(found) == {start_with, b"new picture"}
    assert not caplog.messages


@pytest.mark.parametrize("number", [1, 2, 4, 7])
def test_killed_while_writing_nothing_half_written_reads_as_finished(
    number: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with start(ONE_AFTER_ANOTHER, str(tmp_path)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split() == ["begin", str(number)]:
                process.send_signal(signal.SIGKILL)
                break
        done = {int(line.split()[1]) for line in process.stdout if line.startswith("done")} | set(range(1, number))
    for each in itertools.count(1):
        found = content(Store(tmp_path / str(each)))
        if found is None:
            break
        assert found == bytes([each]) * (each * 3_000_000)
        done.discard(each)
    assert not done
    assert not caplog.messages


def test_two_processes_put_one_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)
    with start(SAME_KEY, str(tmp_path), "a") as one, start(SAME_KEY, str(tmp_path), "b") as two:
        for process in (one, two):
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == "ready\n"
        for process in (one, two):
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        seen = set()
        while one.poll() is None or two.poll() is None:
            seen.add(content(store))
        assert (one.returncode, two.returncode) == (0, 0)
    assert content(store) in (b"a" * 50_039, b"b" * 50_039)
    assert len(seen) > 2
    assert not caplog.messages


def test_many_threads_put_and_get_one_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(tmp_path)

    def work(number: int) -> bytes | None:
        data = bytes([number]) * 5000
        store.put_picture(KEY, data, seed=len(data), scores=Scores(consistency=None, prompt=0.3))
        return content(store)

    with ThreadPoolExecutor(8) as pool:
        assert None not in set(pool.map(work, range(64)))
    assert not caplog.messages
