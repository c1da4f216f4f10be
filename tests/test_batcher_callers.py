"""Callers of a batch: what they hear, and what happens when one is stopped."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import studio as studios
import tiny_models
from PIL import Image
from studio import TIMEOUT, Studio, hold, seed_of, wait_for_waiting
from threads import Stopped, stop
from tiny_models import request, setup

from models import profiles
from models.diffusion import painter
from models.diffusion.batcher import paint_together
from models.diffusion.painter import Painting
from models.diffusion.requests import PaintRequest

tiny_world = tiny_models.tiny_world
studio, pool = studios.studio, studios.pool


@pytest.mark.parametrize("stopped", range(3))
def test_the_mates_of_a_stopped_caller_are_painted_on_and_nothing_twice(studio: Studio, stopped: int) -> None:
    studio.may_paint.clear()
    outcomes: dict[int, int | str] = {}

    def ask(seed: int) -> None:
        try:
            outcomes[seed] = seed_of(paint_together(setup(batch_size=3), request(seed)))
        except Stopped:
            outcomes[seed] = "stopped"

    callers = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    for caller in callers:
        caller.start()
    assert studio.started.acquire(timeout=TIMEOUT)
    stop(callers[stopped])
    callers[stopped].join(TIMEOUT)
    assert outcomes == {stopped: "stopped"}
    studio.may_paint.set()
    for caller in callers:
        caller.join(TIMEOUT)
    assert outcomes == {seed: "stopped" if seed == stopped else seed for seed in range(3)}
    assert len(studio.batches) == 1


def test_what_stops_the_painting_itself_reaches_its_callers_and_the_thread_goes_on(studio: Studio) -> None:
    def stop_painting(_requests: Sequence[PaintRequest]) -> None:
        studio.on_paint = lambda requests: None
        raise KeyboardInterrupt

    studio.on_paint = stop_painting
    with pytest.raises(KeyboardInterrupt):
        paint_together(setup(), request(1))
    assert seed_of(paint_together(setup(), request(2))) == 2


def test_a_stopped_waiter_is_not_painted(studio: Studio, pool: ThreadPoolExecutor) -> None:
    def ask() -> None:
        with pytest.raises(Stopped):
            paint_together(setup(), request(5))

    first = hold(studio, pool)
    waiting = threading.Thread(target=ask)
    waiting.start()
    wait_for_waiting(1)
    stop(waiting)
    waiting.join(TIMEOUT)
    wait_for_waiting(0)
    studio.may_paint.set()
    first.result(TIMEOUT)
    assert seed_of(paint_together(setup(), request(6))) == 6
    assert studio.batches == [[99], [6]]


def test_a_waiter_is_asked_whether_to_go_on_while_others_are_painted(studio: Studio, pool: ThreadPoolExecutor) -> None:
    def cancelled() -> None:
        raise LookupError("cancelled")

    first = hold(studio, pool)
    with pytest.raises(LookupError, match="cancelled"):
        paint_together(setup(), request(5), None, cancelled)
    wait_for_waiting(0)
    studio.may_paint.set()
    first.result(TIMEOUT)
    assert studio.batches == [[99]]


def test_no_progress_is_told_in_the_thread_that_paints(tiny_world: profiles.Profile) -> None:
    told: list[threading.Thread] = []
    paint_together(setup(), request(1), lambda share: told.append(threading.current_thread()))
    assert {*told} == {threading.current_thread()}


def test_painting_does_not_wait_for_a_slow_dashboard(studio: Studio, pool: ThreadPoolExecutor) -> None:
    """A caller that is slow to tell of a step hears of the last one next."""
    may_hear, shares = threading.Event(), list[float]()

    def paint(_models: object, requests: object, report: Callable[[float], None], finished: Any) -> None:
        for share in (0.25, 0.5, 0.75):
            report(share)
        may_hear.set()
        finished(0, Painting(Image.new("L", (1, 1), 7), True))

    def hear(share: float) -> None:
        assert may_hear.wait(TIMEOUT)
        shares.append(share)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(painter, "paint", paint)
        assert seed_of(paint_together(setup(), request(7), hear)) == 7
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_progress_is_the_callers_own(studio: Studio, pool: ThreadPoolExecutor) -> None:
    """Each caller hears of its frame in its own context; one whose callback fails fails alone."""
    name: contextvars.ContextVar[int] = contextvars.ContextVar("name")
    heard: list[tuple[int, int]] = []

    def ask(seed: int) -> Painting:
        name.set(seed)

        def hear(share: float) -> None:
            heard.append((seed, name.get()))
            if seed == 1:
                raise LookupError("no dashboard")

        return paint_together(setup(batch_size=3), request(seed), hear)

    futures = [pool.submit(ask, seed) for seed in range(3)]
    with pytest.raises(LookupError):
        futures[1].result(TIMEOUT)
    assert [seed_of(futures[number].result(TIMEOUT)) for number in (0, 2)] == [0, 2]
    assert sorted(heard) == [(0, 0), (1, 1), (2, 2)]


def test_a_batch_that_nobody_waits_for_any_more_is_stopped(studio: Studio) -> None:
    went_on, ended = list[str](), threading.Event()

    def paint(_models: object, _requests: object, report: Callable[[float], None], _finished: object) -> None:
        try:
            for _ in range(10_000):
                report(0.5)
                threading.Event().wait(0.001)
            went_on.append("painting")
        finally:
            ended.set()

    def stop(_share: float) -> None:
        raise LookupError("cancelled")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(painter, "paint", paint)
        with pytest.raises(LookupError, match="cancelled"):
            paint_together(setup(), request(1), stop)
        assert ended.wait(TIMEOUT)
    assert not went_on
