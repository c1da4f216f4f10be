"""The batch queue: frames that wait at the same time are painted as one batch.

Every frame is a task in its own thread. Its thread queues a request. If no batch is being painted, this thread becomes
the leader: it collects a batch and has it painted in the device's thread (`models.diffusion.compute`). Every other
thread gets its picture from the leader. The leader waits during painting, so that logs appear under a running task.

If the leader is stopped from outside (Ctrl-C, a cancelled run), the next leader takes over the batch's other frames.
The abandoned painting ends at its next step, so that the process can end.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from models.diffusion.fitting import paint_fitting
from models.diffusion.painter import Painting
from models.diffusion.requests import PainterSetup, PaintRequest
from models.progress import Progress

LINGER = 0.25
"""Seconds a leader waits for a batch to fill. Frames that are mapped together arrive within this time."""


@dataclass(eq=False)
class _Ticket:
    """One waiting frame."""

    setup: PainterSetup
    request: PaintRequest
    on_progress: Progress | None
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    """The caller's context, in which its progress is reported from the leader's painting."""
    painting: Painting | None = None
    error: Exception | None = None
    gone: bool = False
    """Whether its caller has stopped waiting."""

    @property
    def done(self) -> bool:
        """Whether it needs no painting: painted, failed or abandoned."""
        return self.gone or self.painting is not None or self.error is not None

    def fits(self, other: _Ticket) -> bool:
        return self.setup == other.setup and self.request.batch_key == other.request.batch_key

    def report(self, share: float) -> None:
        """Call the caller's progress callback; an error in it fails this ticket only."""
        if self.on_progress is None or self.done:
            return
        try:
            self.context.run(self.on_progress, share)
        except Exception as error:
            self.error = error


class _BatchQueue:
    """The frames that wait for one device, and their leader."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.waiting: list[_Ticket] = []
        self.leader: _Ticket | None = None
        self.batch: list[_Ticket] = []
        """The tickets that the leader is painting."""

    def hand_in(self, ticket: _Ticket) -> None:
        """Return when the ticket is done; paint its batch here if this thread becomes the leader."""
        try:
            with self.changed:
                self.waiting.append(ticket)
                self.changed.notify_all()
            if self._takes_the_lead(ticket):
                _paint_batch(self._gather(ticket), self._tell)
        finally:
            self._leave(ticket)

    def _takes_the_lead(self, ticket: _Ticket) -> bool:
        """Wait until the ticket is done or there is no leader; return whether this thread now leads."""
        with self.changed:
            self.changed.wait_for(lambda: ticket.done or self.leader is None)
            if not ticket.done:
                self.leader = ticket
            return not ticket.done

    def _tell(self) -> None:
        """Wake the threads of finished pictures, so that they go on while the rest of the batch is decoded."""
        with self.changed:
            self.changed.notify_all()

    def _leave(self, ticket: _Ticket) -> None:
        """Remove a ticket, done or not."""
        with self.changed:
            ticket.gone = True
            if self.leader is ticket:  # a stopped leader leaves the unfinished frames of its batch to the next one
                self.waiting[:0] = [mate for mate in self.batch if not mate.done]
                self.leader, self.batch = None, []
            self.waiting[:] = [mate for mate in self.waiting if not mate.gone]
            self.changed.notify_all()

    def _gather(self, ticket: _Ticket) -> list[_Ticket]:
        """Return this ticket and the waiting ones that fit it, oldest first, up to the setup's batch size."""
        size = ticket.setup.batch_size

        def fitting() -> list[_Ticket]:
            others = [mate for mate in self.waiting if mate is not ticket and mate.fits(ticket)]
            return [ticket, *others][:size]

        with self.changed:
            if size > 1:
                self.changed.wait_for(lambda: len(fitting()) == size, LINGER)
            self.batch = fitting()
            self.waiting[:] = [mate for mate in self.waiting if mate not in self.batch]
            return self.batch


_QUEUES: dict[str, _BatchQueue] = {}
_QUEUES_LOCK = threading.Lock()


def paint_together(setup: PainterSetup, request: PaintRequest, on_progress: Progress | None = None) -> Painting:
    """Return the painting of one frame, painted in one batch with waiting frames of the same models and settings.

    Safe to call from many threads. A frame does not depend on its batch, up to rounding.

    Args:
        setup: models, device and largest batch size.
        request: the frame.
        on_progress: called with the share done, 0..1, in this caller's context, but in the device's thread.

    Raises:
        StoryboardError: loading or painting this batch failed; other batches are not affected.
    """
    device = setup.device if setup.device != "cuda" else "cuda:0"
    with _QUEUES_LOCK:
        queue = _QUEUES.setdefault(device, _BatchQueue())
    ticket = _Ticket(setup, request, on_progress)
    queue.hand_in(ticket)
    if ticket.error is not None:
        raise ticket.error
    assert ticket.painting is not None
    return ticket.painting


def _paint_batch(batch: list[_Ticket], tell: Callable[[], None]) -> None:
    """Paint a batch and store each ticket's painting. An error fails all unfinished tickets, a stop none of them."""

    def report(share: float) -> None:
        for ticket in batch:
            ticket.report(share)
        errors = [ticket.error for ticket in batch if ticket.error is not None]
        if len(errors) == len(batch):  # no caller can use these pictures
            raise errors[0]

    def finished(number: int, painting: Painting) -> None:
        batch[number].report(1.0)
        batch[number].painting = painting
        tell()

    try:
        paint_fitting(batch[0].setup, [ticket.request for ticket in batch], report, finished)
    except Exception as error:
        for ticket in batch:
            if ticket.painting is None:
                ticket.error = ticket.error or error
