"""The one thread in which torch computes on a device."""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny_models
from threads import Stopped, stop
from tiny_models import request, setup

from models import profiles
from models.diffusion.compute import compute
from models.diffusion.loading import load
from models.diffusion.painter import paint

tiny_world = tiny_models.tiny_world
TIMEOUT = 30.0
"""Seconds after which a test has failed by a deadlock."""
WHEN_TORCH_IS_IMPORTED = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
import {}, torch
"""


def test_on_a_cpu_all_work_is_done_in_one_thread_in_its_turn() -> None:
    inside, seen = threading.Lock(), set[str]()

    def work(number: int) -> int:
        assert inside.acquire(blocking=False), "two at a time"
        seen.add(threading.current_thread().name)
        inside.release()
        return number

    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(lambda number: compute("cpu", lambda: work(number)), range(50))) == list(range(50))
    (thread,) = seen
    assert thread != threading.current_thread().name


def thread(device: str, *, beside: bool = False) -> threading.Thread:
    return compute(device, threading.current_thread, beside=beside)


def test_every_device_has_its_thread_and_a_gpu_a_second_one() -> None:
    assert thread("cuda") is thread("cuda:0") is thread("cuda:0")
    assert len({thread("cpu"), thread("cuda:0"), thread("cuda:1"), thread("cuda:0", beside=True)}) == 4
    assert thread("cpu", beside=True) is thread("cpu")


@pytest.mark.parametrize("first", ["flows.commands.storyboard", "models.lora.training.worker", "steppe.easel"])
def test_openmps_threads_soon_sleep_where_they_wait_whatever_is_imported_first(first: str) -> None:
    own = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    command = [sys.executable, "-c", WHEN_TORCH_IS_IMPORTED.format(first)]
    done = subprocess.run(command, env=environment, cwd=profiles.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "PASSIVE 1000\n"


def test_work_sees_its_callers_context() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    who.set("the caller")
    assert compute("cpu", who.get) == "the caller"


def test_work_may_ask_for_work() -> None:
    with ThreadPoolExecutor(1) as caller:
        twice = caller.submit(compute, "cpu", lambda: thread("cpu"))
        assert twice.result(TIMEOUT) is thread("cpu")


@pytest.mark.parametrize("error", [TimeoutError("slow"), KeyboardInterrupt()])
def test_what_work_raises_reaches_its_caller_and_the_thread_goes_on(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        compute("cpu", fail)
    assert caught.value is error
    assert compute("cpu", lambda: 1) == 1


def test_a_stopped_callers_work_is_not_begun() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), list[str]()

    def long() -> None:
        begun.set()
        assert may_end.wait(TIMEOUT)

    def caller() -> None:
        try:
            compute("cpu", lambda: ended.append("computed"))
        except Stopped:
            ended.append("stopped")

    with ThreadPoolExecutor(1) as other:
        busy = other.submit(compute, "cpu", long)
        assert begun.wait(TIMEOUT)
        waiting = threading.Thread(target=caller)
        waiting.start()
        stop(waiting)
        waiting.join(TIMEOUT)
        may_end.set()
        busy.result(TIMEOUT)
    compute("cpu", lambda: None)
    assert ended == ["stopped"]


def test_a_caller_that_is_stopped_leaves_a_painting_that_ends_at_its_next_step(tiny_world: profiles.Profile) -> None:
    models, shares, outcomes = load(setup()), list[float](), list[str]()
    begun, may_go_on = threading.Event(), threading.Event()

    def watch(share: float) -> None:
        shares.append(share)
        begun.set()
        assert may_go_on.wait(TIMEOUT)

    def caller() -> None:
        try:
            paint(models, [request(steps=5)], watch)
        except Stopped:
            outcomes.append("stopped")

    stopped = threading.Thread(target=caller)
    stopped.start()
    assert begun.wait(TIMEOUT)
    stop(stopped)
    stopped.join(TIMEOUT)
    may_go_on.set()
    assert len(paint(models, [request(steps=2)])) == 1
    assert outcomes == ["stopped"]
    assert len(shares) == 1
