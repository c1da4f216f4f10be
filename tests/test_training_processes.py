"""A training in several processes: equal to one process, errors in their own words, nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import tiny_models
from training_runs import Told, assert_equal_to_the_bit, draw_pictures, make_job, run

from models.errors import InputError, TrainingError
from models.lora.configuration.accelerate_settings import AccelerateSettings
from models.lora.data.latents import encode_set
from models.lora.training import checkpoints, launcher
from models.lora.training import worker as training_process
from models.lora.training.job import Job, Tick
from models.profiles import PROFILES, ROOT, Profile

tiny_world = tiny_models.tiny_world
pytestmark = pytest.mark.usefixtures("tiny_world")
TWO = AccelerateSettings(num_processes=2, use_cpu=True)
IDLE = (str(ROOT / "tests/idle_worker.py"),)
DEADLINE = 120.0


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def _one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def worker(world: Profile) -> tuple[str, ...]:
    return (str(ROOT / "tests/tiny_worker.py"), world.base.source)


def run_in_two(job: Job, world: Profile) -> Told:
    told = Told()
    job = job.model_copy(update={"processes": 2})
    encode_set(job.options, job.training_set, "cpu")
    launcher.launch(job, told.ticks.append, TWO, worker(world))
    return told


class InTwo(NamedTuple):
    """A training in two processes."""

    folder: Path
    told: Told


@pytest.fixture(scope="module")
def in_two(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> InTwo:
    """A finished one, made once."""
    with pytest.MonkeyPatch.context() as patch:
        world = tiny_models.made_once(tmp_path_factory)
        patch.setitem(PROFILES, "tiny", world)
        folder = tmp_path_factory.mktemp("two")
        return InTwo(folder, run_in_two(make_job(folder, pictures), world))


def test_two_processes_learn_what_one_does_with_twice_the_batches(
    in_two: InTwo, pictures: Path, tmp_path: Path
) -> None:
    one = run(make_job(tmp_path, pictures, gradient_accumulation_steps=2))
    assert in_two.told.losses == pytest.approx(one.losses, rel=1e-4)
    assert in_two.told.checkpoints == one.checkpoints == [4, 8, 12]
    assert not list(in_two.folder.glob(".processes-*"))


def test_two_processes_learn_the_same_in_aspect_buckets(tiny_world: Profile, tmp_path: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", sizes=((64, 64), (50, 90), (90, 60)))
    one = run(make_job(tmp_path / "one", pictures, gradient_accumulation_steps=2, dropout=0.0, aspect_buckets=True))
    two = run_in_two(make_job(tmp_path / "two", pictures, dropout=0.0, aspect_buckets=True), tiny_world)
    assert two.losses == pytest.approx(one.losses, rel=1e-4)


def test_two_processes_go_on_exactly(in_two: InTwo, tiny_world: Profile, pictures: Path, tmp_path: Path) -> None:
    run_in_two(make_job(tmp_path, pictures, start=in_two.folder / "checkpoint-8"), tiny_world)
    assert_equal_to_the_bit(in_two.folder / "checkpoint-12", tmp_path / "checkpoint-12")


def test_an_error_keeps_its_words(pictures: Path, tmp_path: Path) -> None:
    job, told = make_job(tmp_path, pictures, profile="steppe", max_train_steps=3), Told()
    with pytest.raises(InputError, match="no update is left"):
        launcher.launch(job.model_copy(update={"processes": 2}), told.ticks.append, TWO, IDLE)
    assert {tick.step for tick in told.ticks} == {1, 2, 3}


def test_a_process_that_cannot_start_is_told(pictures: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, pictures).model_copy(update={"processes": 2})
    with pytest.raises(TrainingError, match="a training process ended with exit code 1: "):
        launcher.launch(job, lambda tick: None, TWO, (str(tmp_path / "no_such_worker.py"),))


def test_each_process_sees_the_named_gpus_alone(pictures: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, pictures).model_copy(update={"processes": 2, "device": "cuda"})
    tell = tmp_path / "tell.py"
    tell.write_text(
        "import os, pathlib\n"
        "names = 'LOCAL_RANK', 'WORLD_SIZE', 'CUDA_VISIBLE_DEVICES', 'ACCELERATE_USE_CPU'\n"
        f"file = pathlib.Path({str(tmp_path)!r}) / ('rank' + os.environ['RANK'])\n"
        "file.write_text(' '.join(os.environ[name] for name in names))\n"
    )
    launcher.launch(job, lambda tick: None, AccelerateSettings(num_processes=2, gpu_ids=(0, 3)), (str(tell),))
    assert (tmp_path / "rank0").read_text() == "0 2 0,3 false"
    assert (tmp_path / "rank1").read_text() == "1 2 0,3 false"


def processes_of(folder: Path) -> list[int]:
    """Ids of all processes that name this folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [number for number in found if number != os.getpid()]


def expect_no_process_of(folder: Path) -> None:
    end = time.monotonic() + DEADLINE
    while processes_of(folder):
        assert time.monotonic() < end, "a process is left"
        time.sleep(0.1)


def test_stopping_ends_all_processes(tiny_world: Profile, pictures: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, pictures, max_train_steps=1000).model_copy(update={"processes": 2})
    encode_set(job.options, job.training_set, "cpu")

    def stop(tick: Tick) -> None:
        if tick.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launcher.launch(job, stop, TWO, worker(tiny_world))
    expect_no_process_of(tmp_path)
    assert checkpoints.list_steps(tmp_path)[0] == 4


def test_a_killed_launcher_leaves_no_process(pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    job = make_job(output, pictures, profile="steppe").model_copy(update={"processes": 2})
    (tmp_path / "job.json").write_text(job.model_dump_json(), encoding="utf-8")
    code = f"""
import os, signal
from models.lora.training.launcher import launch
from models.lora.configuration.accelerate_settings import AccelerateSettings
from models.lora.training.job import Job
job = Job.model_validate_json(open({str(tmp_path / "job.json")!r}).read())
def report(tick):
    if tick.step >= 3: os.kill(os.getpid(), signal.SIGKILL)
launch(job, report, AccelerateSettings(num_processes=2, use_cpu=True), {IDLE!r})
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    expect_no_process_of(output)


def test_a_process_leaves_word_of_an_error_that_nobody_foresaw(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        training_process.main(tmp_path)  # a folder without a job
    said = json.loads((tmp_path / "failure-0.json").read_text())
    assert said["error"] == "TrainingError"
    assert said["message"].startswith("FileNotFoundError: ")
