"""A training that was killed goes on as if it had not been; what is on disk is whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from training_runs import UPDATES, assert_equal_to_the_bit, draw_pictures, make_job, run, tensors_of

from models.errors import InputError, WeightsInvalid
from models.lora.data.latents import encode_set
from models.lora.training import checkpoints
from models.lora.training.job import Job, Tick
from models.profiles import PROFILES, ROOT, Profile

tiny_world = tiny_models.tiny_world
pytestmark = pytest.mark.usefixtures("tiny_world")
ALL: dict[str, Any] = {
    "ema_decay": 0.9,
    "dropout": 0.3,
    "caption_dropout": 0.3,
    "random_flip": True,
    "noise_offset": 0.1,
}
"""Everything that draws something at random."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    """A finished training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, "tiny", tiny_models.made_once(tmp_path_factory))
        output = tmp_path_factory.mktemp("trained")
        run(make_job(output, pictures))
        return output


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """A copy of it: checkpoints 4, 8 and 12."""
    return Path(shutil.copytree(trained_once, tmp_path / "trained"))


def run_alone(job: Job, world: Profile, folder: Path, *event: str) -> subprocess.CompletedProcess[str]:
    """Train in a process of its own, to which something happens."""
    encode_set(job.options, job.training_set, "cpu")
    file = folder / "job.json"
    file.write_text(job.model_dump_json(), encoding="utf-8")
    command = [sys.executable, str(ROOT / "tests/tiny_training.py"), world.base.source, str(file), *event]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)


def test_two_kills_change_nothing(tiny_world: Profile, pictures: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(make_job(whole, pictures, **ALL))
    for step, left in (("6", [4]), ("11", [4, 8])):
        job = make_job(killed, pictures, start=checkpoints.find_start(killed, "latest"), **ALL)
        assert run_alone(job, tiny_world, tmp_path, "kill", step).returncode == -signal.SIGKILL
        assert checkpoints.list_steps(killed) == left
    run(make_job(killed, pictures, start=checkpoints.find_start(killed, "latest"), **ALL))
    assert_equal_to_the_bit(whole / "checkpoint-12", killed / "checkpoint-12")
    losses = [checkpoints.read_state(folder / "checkpoint-12").losses for folder in (whole, killed)]
    assert losses[0] == losses[1]
    assert len(losses[0].steps) == UPDATES


def test_going_on_needs_no_step_of_the_past(pictures: Path, trained: Path) -> None:
    before = checkpoints.read_state(trained / "checkpoint-12").losses
    rest = run(make_job(trained, pictures, start=trained / "checkpoint-8"))
    assert tuple(rest.losses) == before.loss[8:]
    assert rest.checkpoints == [12]


def test_the_latest_whole_checkpoint_is_taken(trained: Path) -> None:
    file = trained / "checkpoint-12/unet_lora/adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    (trained / "checkpoint-8/manifest.json").unlink()
    assert checkpoints.find_start(trained, "latest") == trained / "checkpoint-4"
    with pytest.raises(WeightsInvalid, match=r"adapter_model\.safetensors: missing or changed"):
        checkpoints.read_state(trained / "checkpoint-12")


def test_where_to_start(trained: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    assert checkpoints.find_start(empty, None) is None
    assert checkpoints.find_start(empty, "latest") is None
    assert checkpoints.find_start(trained, None) is None
    assert checkpoints.find_start(trained, "checkpoint-8") == trained / "checkpoint-8"
    assert checkpoints.find_start(empty, str(trained / "checkpoint-8")) == trained / "checkpoint-8"
    with pytest.raises(InputError, match="there is: checkpoint-4, checkpoint-8, checkpoint-12"):
        checkpoints.find_start(trained, "checkpoint-7")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rank": 8}, "rank 4, and now it is 8"),
        ({"max_train_steps": 20}, "updates 12, and now it is 20"),
        ({"seed": 1}, "seed 42, and now it is 1"),
        ({"optimizer": "adamw_fused"}, "optimizer 'adamw', and now it is 'adamw_fused'"),
    ],
)
def test_other_settings_are_refused(pictures: Path, trained: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=f"checkpoint-4 was trained with {told}: set it back"):
        run(make_job(trained, pictures, start=trained / "checkpoint-4", **changes))


def test_other_pictures_are_refused(trained: Path, tmp_path: Path) -> None:
    others = draw_pictures(tmp_path / "others", trigger="aldar_kose_man sits")
    with pytest.raises(InputError, match="checkpoint-4 was trained with other pictures"):
        run(make_job(trained, others, start=trained / "checkpoint-4"))


def test_only_the_newest_stay(pictures: Path, tmp_path: Path) -> None:
    run(make_job(tmp_path, pictures, checkpointing_steps=3, checkpoints_total_limit=2))
    assert checkpoints.list_steps(tmp_path) == [9, 12]


def test_what_a_kill_left_half_written_is_swept_away(pictures: Path, tmp_path: Path) -> None:
    left = tmp_path / ".checkpoint-4.abc.tmp"
    left.mkdir(parents=True)
    (left / "manifest.json").write_text("{}")
    assert checkpoints.list_steps(tmp_path) == []
    run(make_job(tmp_path, pictures))
    assert not left.exists()


def test_the_manifest_knows_every_file(trained: Path) -> None:
    folder = trained / "checkpoint-12"
    named = json.loads((folder / "manifest.json").read_bytes())["files"]
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(named) == there - {"manifest.json"}
    assert {"unet_lora/adapter_config.json", "resume/state.pt"} <= set(named)


def test_a_full_disk_leaves_the_last_whole_checkpoint(tiny_world: Profile, pictures: Path, tmp_path: Path) -> None:
    ended = run_alone(make_job(tmp_path, pictures), tiny_world, tmp_path, "fill", "7")
    assert ended.returncode == 1
    (said,) = ended.stderr.splitlines()[-1:]
    assert said.startswith("StorageError: ")
    assert "no space left to write it; free some disk" in said
    assert said.endswith("checkpoint-4 is the last whole checkpoint")
    assert sorted(path.name for path in tmp_path.glob("*checkpoint*")) == ["checkpoint-4"]
    assert tensors_of(tmp_path / "checkpoint-4")


def test_a_stopped_training_leaves_the_last_whole_checkpoint(pictures: Path, tmp_path: Path) -> None:
    def stop(tick: Tick) -> None:
        if tick.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_job(tmp_path, pictures), stop)
    assert checkpoints.list_steps(tmp_path) == [4]
    rest = run(make_job(tmp_path, pictures, start=tmp_path / "checkpoint-4"))
    assert rest.checkpoints == [8, 12]
