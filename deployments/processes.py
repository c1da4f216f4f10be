"""The service's processes: started together, ended together with all that they started, whatever ends first.

A run's process belongs to the worker but sits in a session of its own, so that ending the worker alone would leave it
behind. And what started the service may itself be killed. So a guard, a process that only waits, ends the others then:

python -m deployments.processes   (its standard input says which, 12 for a new one and -12 for one that has ended;
                                   when that is closed it ends those that are left)
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
"""Seconds that runs have to note how they ended, and that a worker or a server has to end by itself."""
_ADOPT_ORPHANS = 36
"""PR_SET_CHILD_SUBREAPER of Linux's prctl: whose parent has died becomes a child of this process."""


class Family:
    """Processes of which none outlives the `with` block, nor this process."""

    def __enter__(self) -> Family:
        self.members: dict[str, subprocess.Popen[bytes]] = {}
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1)
        command = [sys.executable, "-m", "deployments.processes"]
        self.guard = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def start(self, name: str, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        """Start a process of that name, away from the terminal's Ctrl-C; what it says goes into `log`."""
        with log.open("wb") as said:
            member = subprocess.Popen(  # noqa: S603
                command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        self.members[name] = member
        _tell(self.guard.stdin, member.pid)

    def ended(self) -> str | None:
        """Name of a member that has ended."""
        return next((name for name, member in self.members.items() if member.poll() is not None), None)

    def wait_for(self, name: str) -> int:
        """Exit code of that member, which leaves the family by it."""
        member = self.members[name]
        code = member.wait()
        del self.members[name]
        _tell(self.guard.stdin, -member.pid)  # its number may soon be another process's
        return code

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the youngest first: a server goes last, so that it hears how runs ended."""
        end([member.pid for member in self.members.values()], strays=descendants([os.getpid()]) - {self.guard.pid})
        for member in self.members.values():
            member.wait()
        self.guard.communicate()


def _tell(guard: IO[str] | None, number: int) -> None:
    assert guard is not None
    guard.write(f"{number}\n")
    guard.flush()


def end(members: list[int], strays: Iterable[int] = ()) -> None:
    """End processes and what they started: first the runs, then the members, of these the youngest first."""
    told: set[int] = set()
    deadline = time.monotonic() + FOR_RUNS
    _signal(set(members[1:]), signal.SIGSTOP)  # a worker that goes on would take the next run
    while runs := (descendants(members) | alive(strays)) - set(members):
        late = time.monotonic() > deadline
        _signal(runs if late else runs - told, signal.SIGKILL if late else signal.SIGTERM)
        told |= runs
        time.sleep(0.1)
    for member in reversed(members):
        _signal({member}, signal.SIGTERM)
        _signal({member}, signal.SIGCONT)
        _end_one(member)


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
    """Children of these processes that are alive, and theirs."""
    found: set[int] = set()
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            found |= {child.pid for child in psutil.Process(root).children(recursive=True)}
    return alive(found.difference(roots))


def alive(pids: Iterable[int]) -> set[int]:
    """Those of them that have not ended; one that waits to be collected has."""
    return {pid for pid in pids if _is_alive(pid)}


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """Wait until standard input is closed, and end the processes that it named."""
    members: list[int] = []
    for number in map(int, sys.stdin):
        if number > 0:
            members.append(number)
        else:
            members.remove(-number)
    end(members)


if __name__ == "__main__":
    main()
