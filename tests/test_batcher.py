"""Frames painted together: who gets what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

import pytest
import studio as studios
import tiny_models
from PIL import Image
from studio import TIMEOUT, Studio, hold, seed_of, wait_for_waiting
from tiny_models import request, setup

from models import profiles
from models.diffusion import compute, loading, painter
from models.diffusion.batcher import Turn, paint_together
from models.diffusion.loading import load
from models.diffusion.painter import Painting, paint
from models.diffusion.requests import PaintRequest
from models.errors import AdapterMismatch, PaintError

tiny_world = tiny_models.tiny_world
studio, pool = studios.studio, studios.pool


def test_frames_that_wait_together_are_one_batch(studio: Studio, pool: ThreadPoolExecutor) -> None:
    paintings = list(pool.map(lambda seed: paint_together(setup(batch_size=5), request(seed)), range(5)))
    assert [seed_of(painting) for painting in paintings] == list(range(5))
    assert [sorted(batch) for batch in studio.batches] == [list(range(5))]


def test_a_batch_has_at_most_its_size_and_nobody_is_left(studio: Studio, pool: ThreadPoolExecutor) -> None:
    paintings = list(pool.map(lambda seed: paint_together(setup(batch_size=4), request(seed)), range(12)))
    assert [seed_of(painting) for painting in paintings] == list(range(12))
    assert [len(batch) for batch in studio.batches] == [4, 4, 4]


def test_batch_size_1_does_not_linger(studio: Studio) -> None:
    assert seed_of(paint_together(setup(), request(3))) == 3
    assert studio.batches == [[3]]


def test_a_batch_that_does_not_fill_is_painted_after_lingering(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "LINGER", 0.01)
    assert seed_of(paint_together(setup(batch_size=5), request(3))) == 3


def test_unlike_requests_do_not_share_a_batch(studio: Studio, pool: ThreadPoolExecutor) -> None:
    first = hold(studio, pool)
    kinds: list[dict[str, Any]] = [{"steps": 3}, {"steps": 4}, {"guidance": 1.0}, {"negative_prompt": "a horse"}]
    kinds += [{"size": "88x48"}, {"size": "48x88"}]
    futures = [pool.submit(paint_together, setup(batch_size=2), request(seed, **kinds[seed % 6])) for seed in range(12)]
    wait_for_waiting(12)
    studio.may_paint.set()
    first.result(TIMEOUT)
    assert [seed_of(future.result(TIMEOUT)) for future in futures] == list(range(12))
    assert sorted(sorted(batch) for batch in studio.batches[1:]) == [[n, n + 6] for n in range(6)]


def test_an_error_reaches_its_own_batch_alone(studio: Studio, pool: ThreadPoolExecutor) -> None:
    def fail(requests: Sequence[PaintRequest]) -> None:
        if requests[0].steps == 4:
            raise PaintError("the device failed")

    studio.on_paint = fail
    futures = [pool.submit(paint_together, setup(batch_size=2), request(seed, steps=3 + seed % 2)) for seed in range(4)]
    assert [seed_of(futures[number].result(TIMEOUT)) for number in (0, 2)] == [0, 2]
    for number in (1, 3):
        with pytest.raises(PaintError):
            futures[number].result(TIMEOUT)
    assert len(studio.batches) == 2, "a failed batch is not tried again"
    assert seed_of(paint_together(setup(), request(7))) == 7


def test_an_error_while_loading_reaches_the_callers(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AdapterMismatch("does not fit")

    monkeypatch.setattr(loading, "load", refuse)
    with pytest.raises(AdapterMismatch):
        paint_together(setup(), request())


def test_functions_are_run_while_a_batch_waits_to_fill(studio: Studio, pool: ThreadPoolExecutor) -> None:
    """On a CPU the frames of a batch are scored in the thread that paints, before they ask again."""
    first = pool.submit(paint_together, setup(batch_size=2), request(1))
    wait_for_waiting(1)
    assert compute.compute("cpu", lambda: 5) == 5
    second = pool.submit(paint_together, setup(batch_size=2), request(2))
    assert [seed_of(first.result(TIMEOUT)), seed_of(second.result(TIMEOUT))] == [1, 2]
    assert studio.batches == [[1, 2]]


def test_a_thread_that_waits_does_not_see_anothers_batch_as_its_own(studio: Studio, pool: ThreadPoolExecutor) -> None:
    """Whoever is done returns at once, also while the next batch is being painted."""
    first = hold(studio, pool)
    second = pool.submit(paint_together, setup(), request(1))
    wait_for_waiting(1)
    gate = threading.Event()
    studio.on_paint = lambda requests: None if requests[0].seed == 99 else _wait(gate)
    studio.may_paint.set()
    assert seed_of(first.result(TIMEOUT)) == 99
    gate.set()
    assert seed_of(second.result(TIMEOUT)) == 1


def _wait(gate: threading.Event) -> None:
    assert gate.wait(TIMEOUT)


def test_threads_get_the_bytes_that_painting_alone_gives(
    tiny_world: profiles.Profile, pool: ThreadPoolExecutor
) -> None:
    own = setup(batch_size=1)
    alone = [paint(load(own), [request(seed)])[0].image.tobytes() for seed in range(4)]
    shared = pool.map(lambda seed: paint_together(own, request(seed)).image.tobytes(), range(4))
    assert list(shared) == alone


def test_two_names_of_the_first_gpu_are_one_desk(studio: Studio) -> None:
    for device in ("cuda", "cuda:0"):
        paint_together(setup(device=device), request(1))
    assert compute.thread_of("cuda") is compute.thread_of("cuda:0")


def test_a_frame_is_handed_over_before_the_others_of_its_batch_are_ready(
    studio: Studio, pool: ThreadPoolExecutor
) -> None:
    """A frame's scores and file need not wait for the last picture of its batch."""
    may_end = threading.Event()

    def paint(
        _models: object, requests: Sequence[PaintRequest], _report: object, finished: Callable[[int, Painting], None]
    ) -> None:
        for number, one in enumerate(requests):
            if number == 2:
                assert may_end.wait(TIMEOUT)
            finished(number, Painting(Image.new("L", (1, 1), one.seed), True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(painter, "paint", paint)
        futures = [pool.submit(paint_together, setup(batch_size=3), request(seed)) for seed in range(3)]
        ready, _ = wait(futures, TIMEOUT, FIRST_COMPLETED)  # the third is not ready
        assert 1 <= len(ready) <= 2
        may_end.set()
        assert sorted(seed_of(future.result(TIMEOUT)) for future in futures) == [0, 1, 2]


def test_what_somebody_waits_for_is_painted_before_what_has_time(studio: Studio, pool: ThreadPoolExecutor) -> None:
    first = hold(studio, pool)
    futures = []
    for number, urgent in enumerate((False, True, False, True)):
        futures.append(pool.submit(paint_together, setup(), request(number), None, None, Turn(urgent)))
        wait_for_waiting(number + 1)
    studio.may_paint.set()
    assert [future.result(TIMEOUT).ahead for future in (first, *futures)] == [0, 0, 0, 2, 1]
    assert studio.batches == [[99], [1], [3], [0], [2]]


def test_a_frame_that_does_not_linger_takes_what_waits_and_no_more(studio: Studio, pool: ThreadPoolExecutor) -> None:
    first = hold(studio, pool)
    at_once = Turn(lingers=False)
    futures = [pool.submit(paint_together, setup(batch_size=5), request(n), None, None, at_once) for n in range(2)]
    wait_for_waiting(2)
    studio.may_paint.set()
    for future in (first, *futures):
        future.result(TIMEOUT)
    assert [sorted(batch) for batch in studio.batches] == [[99], [0, 1]]
