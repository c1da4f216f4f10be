"""Warm painters that are killed, hang or are cancelled: nobody's frame fails, and what nobody wants is not painted."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import painters_cluster
import psutil
import pytest
import tiny_models
from painters_cluster import pid_of
from tiny_models import request, setup
from waiting import until

from deployments import painters
from deployments.painters import Painters, deploy
from models.painters import ray_painter
from models.painters.embedded import EmbeddedPainter
from models.painters.painter import UNWATCHED, FrameOrder, Watch
from models.painters.ray_cluster import import_ray
from models.painters.ray_painter import RayPainter
from models.profiles import Profile

tiny_world = tiny_models.tiny_world
ENDLESS = 500
"""Steps of a painting that outlasts a test unless it is ended: half a minute on an idle core."""


def order(painter: RayPainter, seed: int = 1, steps: int = 3) -> FrameOrder:
    weights = painter.load(setup()).weights
    return FrameOrder(setup=setup(), request=request(seed, steps=steps), reference=None, weights=weights)


class Cancelled(Exception):
    """What a cancelled run raises in its frames."""


def test_a_cancelled_frame_ends_within_two_steps(painter: RayPainter, tiny_world: Profile) -> None:
    heard: list[float] = []

    def cancel(share: float) -> None:
        heard.append(share)
        raise Cancelled

    with pytest.raises(Cancelled):
        painter.paint(order(painter, steps=ENDLESS), Watch(cancel))
    assert len(heard) == 1
    assert painter.paint(order(painter, 2), UNWATCHED).took.waiting < 10


def test_a_cancelled_frame_that_waits_leaves_the_queue(painter: RayPainter, tiny_world: Profile) -> None:
    """If one of the waiting ones had stayed, the last would wait for its steps too."""
    begun, done = threading.Event(), threading.Event()

    def hold(_share: float) -> None:
        begun.set()
        if done.is_set():
            raise Cancelled

    def cancelled() -> None:
        raise Cancelled

    with ThreadPoolExecutor(4) as callers:
        first = callers.submit(painter.paint, order(painter, steps=ENDLESS), Watch(hold))
        assert begun.wait(60)
        waiting = [
            callers.submit(painter.paint, order(painter, seed, ENDLESS), Watch(None, cancelled)) for seed in (2, 3)
        ]
        for each in waiting:
            assert isinstance(each.exception(60), Cancelled)
        done.set()
        assert isinstance(first.exception(60), Cancelled)
    assert painter.paint(order(painter, 4), UNWATCHED).took.waiting < 10


def lost_while_painting(painter: RayPainter, lose: Callable[[int], None]) -> None:
    """Lose the painter in the middle of a painting, and see that the frame comes as if nothing had been."""
    asked, pid, begun = order(painter, 7, steps=40), pid_of(painter), threading.Event()

    def hear(_share: float) -> None:
        if not begun.is_set():
            begun.set()
            lose(pid)

    got = painter.paint(asked, Watch(hear))
    assert got.image.tobytes() == EmbeddedPainter().paint(asked, UNWATCHED).image.tobytes()
    assert pid_of(painter) != pid


def test_a_killed_painters_frame_is_painted_by_its_successor(
    painter: RayPainter, tiny_world: Profile, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "models.painters"):
        lost_while_painting(painter, lambda pid: os.kill(pid, signal.SIGKILL))
    said = [record.getMessage() for record in caplog.records if record.name == "models.painters"]
    assert len(said) == 1
    assert "is lost (" in said[0]


def test_a_painter_that_hangs_is_replaced(
    address: str, painter: RayPainter, tiny_world: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(painters, "TO_END", 2.0)
    deploy(Painters(address=address), health_period=0.5, health_timeout=1.0)
    monkeypatch.setattr(ray_painter, "SILENCE", 6.0)
    stopped: list[int] = []

    def hang(pid: int) -> None:
        stopped.append(pid)
        os.kill(pid, signal.SIGSTOP)

    lost_while_painting(painter, hang)
    until(lambda: not psutil.pid_exists(stopped[0]) or psutil.Process(stopped[0]).status() == psutil.STATUS_ZOMBIE)
    monkeypatch.undo()
    deploy(Painters(address=address))


def test_frames_are_painted_though_serves_controller_was_killed(painter: RayPainter, tiny_world: Profile) -> None:
    pid = pid_of(painter)
    ray = import_ray()
    ray.kill(ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve"), no_restart=False)
    assert painter.paint(order(painter, 5), UNWATCHED).image.size == (64, 64)
    assert pid_of(painter) == pid


def test_a_killed_runs_frame_is_not_painted_to_its_end(
    address: str, painter: RayPainter, tiny_world: Profile, tmp_path: Path
) -> None:
    with ExitStack() as ends:
        run = painters_cluster.painting(address, tmp_path, ends, steps=10 * ENDLESS)
        run.kill()
        run.wait()
    assert painter.paint(order(painter, 6), UNWATCHED).took.waiting < 20
