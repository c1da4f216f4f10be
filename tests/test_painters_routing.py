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

APP = "two"


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
def two(address: str) -> Iterator[None]:
    """An application with two painters that paint for ever."""

    class Painting:
        async def paint(self) -> AsyncIterator[int]:
            yield os.getpid()
            await asyncio.Event().wait()

    connect(address)
    serve = import_ray().serve
    deployment = as_deployment(Painting, num_replicas=2, ray_actor_options={"num_cpus": 0})
    serve.run(deployment.bind(), name=APP, route_prefix=None)
    yield
    serve.delete(APP)


def test_frames_of_a_run_are_painted_by_both_painters_if_these_are_free_and_else_by_one(two: None) -> None:
    from ray.serve.handle import DeploymentHandle

    def painters_of(run: DeploymentHandle[Any], frames: int) -> Counter[int]:
        replies = [run.options(stream=True).paint.remote() for _ in range(frames)]
        for each in replies:
            ends.callback(each.cancel)
        return Counter(next(iter(each)) for each in replies)

    with ExitStack() as ends:
        first, second = (DeploymentHandle(DEPLOYMENT, APP) for _ in range(2))
        both = painters_of(first, 4)
        assert sorted(both.values()) == [2, 2]
        assert list(painters_of(second, 5).values()) == [5]
