"""Frames that wait at the same time are painted together.

Every frame is its own task in its own thread. A thread hands in its request; if nobody is painting it becomes the
leader, gathers what else waits and fits, has it painted in the device's thread (`models.diffusion.compute`), and gives
every frame's thread its picture. It waits meanwhile, so that logs appear under a task that is running.

A leader that is stopped from outside (Ctrl-C, a cancelled run) hands the others' frames to the next leader; the
painting that it leaves ends at its next step, and so keeps no process from ending.
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
"""Seconds a leader waits for a batch to fill: frames mapped together arrive within this, and painting takes longer."""


@dataclass(eq=False)
class _Ticket:
    """One waiting frame."""

    setup: PainterSetup
    request: PaintRequest
    on_progress: Progress | None
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    """The caller's, so that its progress is reported as its own whoever leads."""
    painting: Painting | None = None
    error: Exception | None = None
    gone: bool = False
    """Its caller waits no more."""

    @property
    def done(self) -> bool:
        """Whether nobody needs to paint it any more."""
        return self.gone or self.painting is not None or self.error is not None

    def fits(self, other: _Ticket) -> bool:
        return self.setup == other.setup and self.request.batch_key == other.request.batch_key

    def report(self, share: float) -> None:
        """Tell the caller; what its callback raises is its own failure and nobody else's."""
        if self.on_progress is None or self.done:
            return
        try:
            self.context.run(self.on_progress, share)
        except Exception as error:
            self.error = error


class _BatchQueue:
    """The frames that wait for one device, and the thread that paints there."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.waiting: list[_Ticket] = []
        self.leader: _Ticket | None = None
        self.batch: list[_Ticket] = []
        """What the leader is painting."""

    def hand_in(self, ticket: _Ticket) -> None:
        """Return when the ticket is done, having painted it and others if it came to be this thread's turn."""
        try:
            with self.changed:
                self.waiting.append(ticket)
                self.changed.notify_all()
            if self._takes_the_lead(ticket):
                _paint_batch(self._gather(ticket), self._tell)
        finally:
            self._leave(ticket)

    def _takes_the_lead(self, ticket: _Ticket) -> bool:
        """Wait for the picture or for the lead; whether it is now this thread's to lead."""
        with self.changed:
            self.changed.wait_for(lambda: ticket.done or self.leader is None)
            if not ticket.done:
                self.leader = ticket
            return not ticket.done

    def _tell(self) -> None:
        """Wake those whose pictures are ready, while the others' are still being decoded."""
        with self.changed:
            self.changed.notify_all()

    def _leave(self, ticket: _Ticket) -> None:
        """Withdraw a ticket, done or not. A leader that was stopped leaves its mates' frames to the next one."""
        with self.changed:
            ticket.gone = True
            if self.leader is ticket:
                self.waiting[:0] = [mate for mate in self.batch if not mate.done]
                self.leader, self.batch = None, []
            self.waiting[:] = [mate for mate in self.waiting if not mate.gone]
            self.changed.notify_all()

    def _gather(self, ticket: _Ticket) -> list[_Ticket]:
        """This ticket and those waiting that fit it, first come first, at most the setup's batch size."""
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
    """Paint one frame, in one batch with whatever else waits for the same models and settings.

    Safe to call from many threads; returns when this frame is done. What a frame looks like does not depend on its
    batch, up to rounding.

    Args:
        setup: which models, where, and how many frames a batch may have.
        request: the frame.
        on_progress: called with the share done, 0..1, perhaps from another frame's thread, in this caller's context.

    Raises:
        StoryboardError: what loading or painting this batch raised; the callers of other batches see nothing of it.
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
    """Paint and note each ticket's outcome as it comes; an exception goes to all of them, being stopped to none."""

    def report(share: float) -> None:
        for ticket in batch:
            ticket.report(share)
        errors = [ticket.error for ticket in batch if ticket.error is not None]
        if len(errors) == len(batch):  # nobody waits for these pictures any more
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
