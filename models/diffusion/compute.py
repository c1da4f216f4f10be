"""One thread per device for all torch computation, and the queue of the frames that it paints in batches.

On the CPU, every computing thread gets its own OpenMP workers. With more workers than cores, libgomp puts them to sleep
early, so that most operations begin with waking them, and threads that compute at the same time wait for each other.
Six frames of the offline profile take 8.4 s on two cores in one thread, 10.8 s with a thread per frame.

On a GPU, torch caches cuDNN's plans per thread, so a thread per frame would plan attention and convolutions anew for
each frame. Scoring runs in a second thread there, so that it overlaps with painting.

The thread does two kinds of work. `compute` runs a function, in the order of asking. A ticket waits for others that fit
it, and is done together with them. Functions go first: they are short, and somebody's next ticket may depend on one.
"""

from __future__ import annotations

import contextvars
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, Self, TypeVar

T = TypeVar("T")
LOOK_EVERY = 0.5
"""Seconds between wake-ups of a waiting caller, so that it notices an exception raised in it from outside."""
LINGER = 0.25
"""Seconds that a ticket waits for others that fit it. Frames that are mapped together arrive within this time."""


class _Here(threading.local):
    computes = False
    """Whether this thread is one of the devices' threads."""


_HERE = _Here()


class Ticket(ABC):
    """Work that waits for a device, to be done together with what fits it."""

    def __init__(self, most: int, urgent: bool = True, lingers: bool = True) -> None:
        """Ask for work.

        Args:
            most: how many tickets are done together at most.
            urgent: whether it goes before all that are not.
            lingers: whether it waits a moment for others that fit it.
        """
        self.most, self.urgent, self.lingers = most, urgent, lingers
        self.asked = time.monotonic()

    @abstractmethod
    def fits(self, other: Self) -> bool:
        """Whether both may be done together."""

    @classmethod
    @abstractmethod
    def do(cls, batch: Sequence[Self]) -> None:
        """Do the work in the device's thread, and tell the callers how it ended; this raises nothing."""


class _Call(NamedTuple):
    """A function that waits for a device."""

    future: Future[Any]
    context: contextvars.Context
    work: Callable[[], Any]

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.context.run(self.work))
        except BaseException as error:  # it is the caller's, who may have been asked to stop
            self.future.set_exception(error)


class DeviceThread:
    """A device's thread, and what waits for it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.calls: deque[_Call] = deque()
        self.waiting: list[Any] = []
        """Tickets, the urgent ones first, of them the oldest first."""
        # Each call and each ticket submits one turn: the thread sleeps when nothing waits, and ends with the process.
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="torch", initializer=_computes)

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Have a function run in the caller's context."""
        call = _Call(Future(), contextvars.copy_context(), work)
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()
        self._turns.submit(self._turn)
        return call.future

    def ask(self, ticket: Ticket) -> int:
        """Put a ticket into the queue, and return how many are before it there."""
        with self.changed:
            self.waiting.append(ticket)
            self.waiting.sort(key=lambda other: not other.urgent)
            before = self.waiting.index(ticket)
            self.changed.notify_all()
        self._turns.submit(self._turn)
        return before

    def leave(self, ticket: Ticket) -> None:
        """Take a ticket out of the queue, if it waits there."""
        with self.changed:
            self.waiting[:] = [other for other in self.waiting if other is not ticket]
            self.changed.notify_all()

    def _turn(self) -> None:
        """Run one function, or else do one batch; nothing if another turn did it already."""
        if not self._run_a_call() and (batch := self._gather()):
            type(batch[0]).do(batch)

    def _run_a_call(self) -> bool:
        with self.changed:
            call = self.calls.popleft() if self.calls else None
        if call is not None:
            call.run()
        return call is not None

    def _gather(self) -> list[Any]:
        """Take the first ticket and those that fit it from the queue, up to its `most`; lingers unless they are all.

        Functions are run meanwhile: on a CPU the frames of a batch are scored here before they ask again.
        """
        while True:
            with self.changed:
                batch = self._fitting()
                left = batch[0].asked + LINGER - time.monotonic() if batch and batch[0].lingers else 0.0
                if not batch or len(batch) == batch[0].most or left <= 0:
                    self.waiting[:] = [ticket for ticket in self.waiting if ticket not in batch]
                    return batch
                if not self.calls:
                    self.changed.wait(left)
            self._run_a_call()

    def _fitting(self) -> list[Any]:
        if not self.waiting:
            return []
        first, *others = self.waiting
        return [first, *(ticket for ticket in others if ticket.fits(first))][: first.most]


def _computes() -> None:
    _HERE.computes = True


_THREADS: dict[tuple[str, bool], DeviceThread] = {}
_LOCK = threading.Lock()


def thread_of(device: str, *, beside: bool = False) -> DeviceThread:
    """Return a device's thread; `beside`: a GPU's second one."""
    key = ("cuda:0" if device == "cuda" else device, beside and device != "cpu")
    with _LOCK:
        if key not in _THREADS:
            _THREADS[key] = DeviceThread()
        return _THREADS[key]


def compute(device: str, work: Callable[[], T], *, beside: bool = False) -> T:
    """Return what `work` returns, run in the device's thread and in this caller's context; its errors are raised here.

    If the caller is stopped, work that has not started is cancelled; started work goes on.

    Args:
        device: cpu, cuda, cuda:N or mps.
        work: the function to run. Its own calls of `compute` run at once in the same thread.
        beside: on a GPU, run it in the second thread.
    """
    if _HERE.computes:
        return work()
    future: Future[T] = thread_of(device, beside=beside).call(work)
    try:
        while not wait([future], LOOK_EVERY).done:
            pass
    finally:
        future.cancel()  # has no effect on work that has started
    return future.result()
