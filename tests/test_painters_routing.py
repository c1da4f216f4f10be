"""Which of several painters gets a run's frames."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from deployments.painters import DEPLOYMENT, as_deployment
from models.painters.ray_cluster import connect, import_ray

APP = "five"


@pytest.mark.parametrize(
    ("queues", "own", "place"),
    [
        pytest.param({"a": 3, "b": 2}, {}, "b", id="the shorter queue"),
        pytest.param({"a": 8, "b": 2}, {"a": 1}, "a", id="to its others, though that queue is longer"),
        pytest.param({"a": 1, "b": 0}, {"a": 1}, "b", id="to one that is free"),
        pytest.param({"a": 0, "b": 0}, {"a": 1}, "b", id="its others are on their way"),
        pytest.param({"a": 2, "b": 2}, {"a": 3, "b": 2}, "b", id="evenly, where all is its own"),
        pytest.param({"b": 4}, {"a": 2}, "b", id="the one with its others is gone"),
        pytest.param({}, {"a": 2}, None, id="nobody answers"),
    ],
)
def test_a_request_goes(queues: dict[str, int], own: dict[str, int], place: str | None) -> None:
    import_ray("127.0.0.1:0")  # before the router, which imports Ray
    from models.painters.ray_router import place_for_next

    assert place_for_next(queues, own) == place


@pytest.fixture
def five(address: str) -> Iterator[None]:
    """An application with five painters that paint for ever."""

    class Painting:
        async def paint(self) -> AsyncIterator[int]:
            yield os.getpid()
            await asyncio.Event().wait()

    connect(address)
    serve = import_ray().serve
    deployment = as_deployment(Painting, num_replicas=5, ray_actor_options={"num_cpus": 0})
    serve.run(deployment.bind(), name=APP, route_prefix=None)
    yield
    serve.delete(APP)


def test_a_runs_frames_are_painted_by_four_painters_if_these_are_free_and_else_by_one(five: None) -> None:
    from ray.serve.handle import DeploymentHandle

    def painters_of_a_run(frames: int) -> Counter[int]:
        run = DeploymentHandle[Any](DEPLOYMENT, APP)  # with a router of its own
        replies = [run.options(stream=True).paint.remote() for _ in range(frames)]
        for each in replies:
            ends.callback(each.cancel)
        return Counter(next(iter(each)) for each in replies)

    with ExitStack() as ends:
        first = painters_of_a_run(8)
        assert list(first.values()) == [2, 2, 2, 2]
        at_work = set(first)
        while len(at_work) < 5:
            at_work |= set(painters_of_a_run(1))
        assert list(painters_of_a_run(5).values()) == [5]
