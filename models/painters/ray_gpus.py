"""GPUs of a painters' cluster for a training in this process. Ray gives each to one holder at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models.errors import InputError
from models.painters.ray_cluster import CLIENT, connect, import_ray
from models.settings import EMBEDDED

VISIBLE = "CUDA_VISIBLE_DEVICES"
TO_GIVE = 10.0
"""Seconds in which Ray gives GPUs that are free."""


class _Holder:
    """The actor that holds the GPUs; it ends with this process's connection."""

    def visible(self) -> str:
        """Return what Ray made visible to it."""
        return os.environ[VISIBLE]


@contextmanager
def held_gpus(address: str, count: int) -> Iterator[None]:
    """Make so many GPUs visible to this process that no painter has, before torch looks for some.

    Where the cluster has none on this machine, or Ray's client asks it, this process keeps the GPUs that it sees.

    Args:
        address: as in `StoryboardOptions.painters`; "embedded" for no cluster.

    Raises:
        InputError: the painters have them, or this machine has fewer.
        PaintersUnreachable: no cluster answers.
    """
    if address == EMBEDDED or address.startswith(CLIENT):
        yield
        return
    connect(address)
    ray = import_ray(address)
    here = str(ray.get_runtime_context().get_node_id())
    if not (there := _gpus_of(ray, here)):
        yield
        return
    if count > there:
        raise InputError(f"the training needs {count} GPUs, and this machine has {there}: set num_processes to {there}")
    before, holder = os.environ.get(VISIBLE), _holder(ray, here, count)
    try:
        os.environ[VISIBLE] = _given(ray, holder, address, count, there)
        yield
    finally:
        ray.kill(holder)
        os.environ.pop(VISIBLE, None)
        os.environ |= {} if before is None else {VISIBLE: before}


def _gpus_of(ray: Any, machine: str) -> int:
    return next(int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["NodeID"] == machine)


def _holder(ray: Any, machine: str, count: int) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    where = NodeAffinitySchedulingStrategy(machine, soft=False)
    return ray.remote(_Holder).options(num_gpus=count, num_cpus=0, scheduling_strategy=where).remote()


def _given(ray: Any, holder: Any, address: str, count: int, there: int) -> str:
    try:
        return str(ray.get(holder.visible.remote(), timeout=TO_GIVE))
    except (ray.exceptions.GetTimeoutError, ray.exceptions.ActorUnschedulableError):
        raise InputError(
            f"the training needs {count} GPU(s), and painters have the {there} of this machine: free some with "
            f"python -m deployments.painters --address {address} --replicas N, N being fewer than now"
        ) from None
