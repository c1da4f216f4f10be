"""Frames that wait at the same time are painted as one batch.

Every frame is a task in its own thread, which asks here and waits. The device's thread (`models.diffusion.compute`)
takes what waits, paints it and tells each caller of its steps and of its picture. Progress callbacks run in their
callers' threads, so that no request to a server is made in the thread that paints.

A caller that is stopped leaves the queue; the others of its batch are painted on. A painting for which nobody waits any
more ends at its next step, so that the process can end.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import NamedTuple, Self

from models.diffusion.compute import LOOK_EVERY, Ticket, thread_of
from models.diffusion.fitting import paint_fitting
from models.diffusion.painter import Painting
from models.diffusion.requests import PainterSetup, PaintRequest
from models.progress import GoOn, Progress


class Turn(NamedTuple):
    """When a frame is painted."""

    urgent: bool = True
    """Before all that are not urgent."""
    lingers: bool = True
    """After a moment, in which others that fit it may come."""


AT_ONCE = Turn()


class _Nobody(BaseException):
    """Ends a painting for which nobody waits any more. It is no error of the painting."""


class _Frame(Ticket):
    """A frame that waits to be painted."""

    def __init__(self, setup: PainterSetup, request: PaintRequest, turn: Turn) -> None:
        super().__init__(setup.batch_size, *turn)
        self.setup, self.request = setup, request
        self.context = contextvars.copy_context()
        """The caller's, under whose run the painting of a batch is logged."""
        self.begun = self.asked
        self.left = False
        """Whether its caller has stopped waiting."""
        self.news: SimpleQueue[float | Painting | BaseException] = SimpleQueue()
        """From the device's thread to the caller: shares, at last the picture or an error."""

    def fits(self, other: Self) -> bool:
        return self.setup == other.setup and self.request.batch_key == other.request.batch_key

    @classmethod
    def do(cls, batch: Sequence[Self]) -> None:
        """Paint a batch. An error is told to all whose picture is not done."""
        unfinished = dict(enumerate(batch))

        def report(share: float) -> None:
            if all(frame.left for frame in batch):
                raise _Nobody
            for frame in unfinished.values():
                frame.news.put(share)

        def finished(number: int, painting: Painting) -> None:
            unfinished.pop(number).news.put(painting)

        for frame in batch:
            frame.begun = time.monotonic()
        try:
            requests = [frame.request for frame in batch]
            batch[0].context.run(paint_fitting, batch[0].setup, requests, report, finished)
        except BaseException as error:  # the thread goes on; each caller decides what becomes of it
            for frame in unfinished.values():
                frame.news.put(error)

    def wait(self, on_progress: Progress | None, go_on: GoOn | None) -> Painting:
        """Return the picture, and tell of the steps until then, of the last one where several are new."""
        while True:
            try:
                told = self.news.get(timeout=LOOK_EVERY)
                while isinstance(told, float) and not self.news.empty():
                    told = self.news.get()
            except Empty:
                if go_on is not None:
                    go_on()
                continue
            if isinstance(told, BaseException):
                raise told
            if on_progress is not None:
                on_progress(told if isinstance(told, float) else 1.0)
            if isinstance(told, Painting):
                return told


def paint_together(
    setup: PainterSetup,
    request: PaintRequest,
    on_progress: Progress | None = None,
    go_on: GoOn | None = None,
    turn: Turn = AT_ONCE,
) -> Painting:
    """Return the painting of one frame, painted in one batch with waiting frames of the same models and settings.

    Safe to call from many threads. A frame does not depend on its batch, up to rounding.

    Args:
        setup: models, device and largest batch size.
        request: the frame.
        on_progress: called with the share done, 0..1, in this thread. What it raises is raised here; the others of the
            batch are painted on.
        go_on: called now and then while the frame waits; what it raises is raised here.
        turn: when it is painted.

    Raises:
        StoryboardError: loading or painting this batch failed; other batches are not affected.
    """
    frame, thread = _Frame(setup, request, turn), thread_of(setup.device)
    try:
        ahead = thread.ask(frame)
        return replace(frame.wait(on_progress, go_on), waiting=frame.begun - frame.asked, ahead=ahead)
    finally:
        frame.left = True
        thread.leave(frame)
