"""A training beside painters takes a GPU that they do not have. The cluster has two GPUs only by name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from models.errors import InputError
from models.painters import ray_gpus
from models.painters.ray_cluster import disconnect
from models.painters.ray_gpus import VISIBLE, held_gpus
from models.settings import EMBEDDED

CLUSTER = """
import sys
from models.painters.ray_cluster import import_ray
ray = import_ray("127.0.0.1:0")
ray.init(num_gpus=2, num_cpus=1, include_dashboard=False, object_store_memory=80 * 2**20)
print("at", ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def two_gpus(address: str) -> Iterator[str]:
    """The address of a cluster with the token of the one that other tests share, because Ray reads it once."""
    command, seen = [sys.executable, "-c", CLUSTER], {**os.environ, VISIBLE: "0,1"}
    with subprocess.Popen(command, env=seen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        assert cluster.stdout is not None
        yield next(line.split()[1] for line in cluster.stdout if line.startswith("at "))
        disconnect()
        cluster.communicate()


def test_each_training_sees_a_gpu_of_its_own_and_a_third_is_told_how_to_get_one(
    two_gpus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "")
    monkeypatch.setattr(ray_gpus, "TO_GIVE", 3.0)
    with held_gpus(two_gpus, 1):
        first = os.environ[VISIBLE]
        with held_gpus(two_gpus, 1):
            assert {first, os.environ[VISIBLE]} == {"0", "1"}
            refused = pytest.raises(InputError, match=r"needs 1 GPU.*have the 2 of this machine.*--replicas N")
            with refused, held_gpus(two_gpus, 1):
                pass
        assert os.environ[VISIBLE] == first
    assert os.environ[VISIBLE] == ""
    with held_gpus(two_gpus, 2):
        assert os.environ[VISIBLE] in ("0,1", "1,0")
    with pytest.raises(InputError, match=r"needs 3 GPUs, .* has 2: set num_processes to 2"), held_gpus(two_gpus, 3):
        pass


@pytest.mark.parametrize("address", [EMBEDDED, "ray://127.0.0.1:1"])
def test_without_a_cluster_here_nothing_changes(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "7")
    with held_gpus(address, 1):
        assert os.environ[VISIBLE] == "7"


def test_a_cluster_without_gpus_changes_nothing(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    with held_gpus(address, 1):
        assert VISIBLE not in os.environ
