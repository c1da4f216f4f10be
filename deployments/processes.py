"""Starts the service's processes together, and ends them and their descendants together, whichever ends first.

A run's process belongs to the worker but has its own session, so ending only the worker would leave it running. The
service's own process may also be killed. So a guard process waits for that, and then ends the others:

python -m deployments.processes   (reads pids from standard input, 12 for a started and -12 for an ended process,
                                   "12 alone" for one that ends its descendants itself, and ends the remaining
                                   ones when it is closed)
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

FOR_RUNS, FOR_THE_REST = 20.0, 5.0
"""Seconds until a kill: for runs, which note how they ended, and for a worker or a server."""
ALONE = "alone"
"""Mark of a member that ends its descendants itself, as Ray's driver does: none of them is a run."""
_ADOPT_ORPHANS = 36
"""PR_SET_CHILD_SUBREAPER of Linux's prctl: orphaned descendants become children of this process."""


class Family:
    """Processes that end with the `with` block, or with this process."""

    def __enter__(self) -> Family:
        self.members: dict[str, subprocess.Popen[bytes]] = {}
        self.alone: set[int] = set()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1)
        command = [sys.executable, "-m", "deployments.processes"]
        self.guard = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def start(
        self, name: str, command: list[str], environment: Mapping[str, str], log: Path, *, alone: bool = False
    ) -> None:
        """Start a process of that name, out of reach of the terminal's Ctrl-C, with its output in `log`.

        Args:
            alone: it ends its descendants itself.
        """
        with log.open("wb") as output:
            member = subprocess.Popen(  # noqa: S603
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self.members[name] = member
        self.alone |= {member.pid} if alone else set()
        _tell(self.guard.stdin, f"{member.pid} {ALONE}" if alone else f"{member.pid}")

    def ended(self) -> str | None:
        """Return the name of a member that has ended, if any."""
        return next((name for name, member in self.members.items() if member.poll() is not None), None)

    def wait_for(self, name: str) -> int:
        """Wait until the member ends, remove it from the family, and return its exit code."""
        member = self.members[name]
        code = member.wait()
        del self.members[name]
        _tell(self.guard.stdin, f"{-member.pid}")  # because another process may get its pid
        return code

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End all members, the youngest first: the server ends last, so that it learns how runs ended."""
        members = [member.pid for member in self.members.values()]
        end(members, self.alone, strays=descendants([os.getpid()]) - {self.guard.pid})
        for member in self.members.values():
            member.wait()
        self.guard.communicate()


def _tell(guard: IO[str] | None, line: str) -> None:
    assert guard is not None
    guard.write(f"{line}\n")
    guard.flush()


def end(members: list[int], alone: set[int], strays: Iterable[int] = ()) -> None:
    """End processes and their descendants: first the runs, then the members, the youngest first.

    Args:
        members: the processes, in the order of their start.
        alone: those of them that end their descendants themselves.
        strays: descendants whose parents have ended.
    """
    told: set[int] = set()
    deadline = time.monotonic() + FOR_RUNS
    _signal({*members[1:]} - alone, signal.SIGSTOP)  # so that workers do not take the next run
    own = {*alone, *descendants(alone)}
    while runs := (descendants(members) | alive(strays)) - {*members} - own:
        late = time.monotonic() > deadline
        _signal(runs if late else runs - told, signal.SIGKILL if late else signal.SIGTERM)
        told |= runs
        time.sleep(0.1)
    for member in reversed(members):
        _signal({member}, signal.SIGTERM)
        _signal({member}, signal.SIGCONT)
        _end_one(member)
    _signal(alive(own), signal.SIGKILL)


def _end_one(pid: int) -> None:
    deadline = time.monotonic() + FOR_THE_REST
    while alive([pid]):
        if time.monotonic() > deadline:
            _signal({pid}, signal.SIGKILL)
        time.sleep(0.1)


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def descendants(roots: Iterable[int]) -> set[int]:
    """Return the living descendants of these processes."""
    found: set[int] = set()
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            found |= {child.pid for child in psutil.Process(root).children(recursive=True)}
    return alive(found.difference(roots))


def alive(pids: Iterable[int]) -> set[int]:
    """Return those processes that have not ended; a zombie counts as ended."""
    return {pid for pid in pids if _is_alive(pid)}


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Wait until standard input is closed, and end the processes that it listed."""
    members: list[int] = []
    alone: set[int] = set()
    for line in sys.stdin:
        number, _, mark = line.strip().partition(" ")
        if int(number) > 0:
            members.append(int(number))
            alone |= {int(number)} if mark == ALONE else set()
        else:
            members.remove(-int(number))
    end(members, alone)


if __name__ == "__main__":
    main()
