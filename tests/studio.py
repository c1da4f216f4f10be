"""A painter that stands in for the models, and who waits for it: for tests of batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from PIL import Image
from tiny_models import request, setup

from models.diffusion import compute, loading, painter
from models.diffusion.batcher import paint_together
from models.diffusion.painter import Painting
from models.diffusion.requests import PaintRequest

TIMEOUT = 30.0
"""Seconds after which a test has failed by a deadlock."""


class Studio:
    """Stands in for the models: notes each batch, and paints when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Semaphore(0)
        self.may_paint = threading.Event()
        self.may_paint.set()
        self.on_paint: Callable[[Sequence[PaintRequest]], None] = lambda requests: None
        self.inside = threading.Lock()

    def paint(
        self,
        _models: object,
        requests: Sequence[PaintRequest],
        report: Callable[[float], None],
        finished: Callable[[int, Painting], None],
    ) -> list[Painting]:
        assert self.inside.acquire(blocking=False), "two paintings at a time on one device"
        try:
            self.batches.append([one.seed for one in requests])
            self.started.release()
            assert self.may_paint.wait(TIMEOUT)
            self.on_paint(requests)
            paintings = [Painting(Image.new("L", (1, 1), one.seed), True) for one in requests]
            for number, painting in enumerate(paintings):
                finished(number, painting)
            return paintings
        finally:
            self.inside.release()


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Studio:
    own = Studio()
    monkeypatch.setattr(loading, "load", lambda setup, progress=None: None)
    monkeypatch.setattr(painter, "paint", own.paint)
    # A batch that can fill is waited for, so no test depends on how fast threads start.
    monkeypatch.setattr(compute, "LINGER", TIMEOUT)
    return own


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as own:
        yield own


def seed_of(painting: Painting) -> int:
    seed = painting.image.getpixel((0, 0))
    assert isinstance(seed, int | float)
    return round(seed)


def hold(studio: Studio, pool: ThreadPoolExecutor) -> Future[Painting]:
    """Start a painting that lasts until `may_paint`, so that others gather behind it."""
    studio.may_paint.clear()
    first = pool.submit(paint_together, setup(), request(99))
    assert studio.started.acquire(timeout=TIMEOUT)
    return first


def wait_for_waiting(count: int) -> None:
    queue = compute.thread_of("cpu")
    with queue.changed:
        assert queue.changed.wait_for(lambda: len(queue.waiting) == count, TIMEOUT)
