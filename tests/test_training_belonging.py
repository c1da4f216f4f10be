"""One folder of checkpoints belongs to one training: it is locked, and no other training's checkpoint counts in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
from training_runs import draw_pictures, make_job, run

from models.errors import InputError
from models.lora.records import checkpoint_name
from models.lora.training import checkpoints
from models.lora.training.belonging import checkpoints_of, find_foreign_checkpoints, held, training_of
from models.lora.training.checkpoints import MANIFEST, STATE
from models.profiles import PROFILES, ROOT

tiny_world = tiny_models.tiny_world
HOLDING = """
import sys
from pathlib import Path
from models.lora.training.belonging import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_held_by_one_process_and_free_when_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"^{folder}: another training is at work there; wait"), held(folder):
            raise AssertionError("two hold it")
        with held(tmp_path / "another"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with held(folder), pytest.raises(InputError), held(folder):
        raise AssertionError("two of one process hold it")


def test_a_folder_that_can_not_be_is_left_to_the_checks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    with held(tmp_path / "file" / "below"):
        pass


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training "first" with the checkpoints 4, 8 and 12 in `one`, and its pictures."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, "tiny", tiny_models.made_once(tmp_path_factory))
        job = make_job(folder / "one", draw_pictures(folder / "pictures"))
        run(job.model_copy(update={"run": "first", "training": "first"}))
    return folder


@pytest.fixture
def folder(trained_once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained_once, tmp_path / "copy"))


def rename(folder: Path, training: str | None) -> None:
    """Let a checkpoint be of another training, or of none, as earlier versions wrote them."""
    state = json.loads((folder / STATE).read_text())
    state["training"] = training
    if training is None:
        del state["training"]
    (folder / STATE).write_text(json.dumps(state))
    entries = json.loads((folder / MANIFEST).read_text())
    del entries["files"][STATE]
    (folder / MANIFEST).write_text(json.dumps(entries))


def test_a_checkpoint_says_which_training_it_is_of(folder: Path) -> None:
    output = folder / "one"
    states = [checkpoints.peek(output / checkpoint_name(step)) for step in checkpoints.list_steps(output)]
    assert [(state.step, state.run, state.training) for state in states] == [
        (step, "first", "first") for step in (4, 8, 12)
    ]
    assert training_of(None, "second") == "second"
    assert training_of(output / "checkpoint-8", "second") == "first"


def test_what_a_training_may_find_in_its_folder(folder: Path, tmp_path: Path) -> None:
    output, empty = folder / "one", tmp_path / "empty"
    own = output / "checkpoint-8"
    for place, start, name in ((output, None, "first"), (output, own, "second"), (empty, own, "second")):
        assert list(find_foreign_checkpoints(place, start, name)) == []
    (said,) = find_foreign_checkpoints(output, None, "second")
    assert "holds checkpoint-12 of an earlier training: go on from it with --resume-from-checkpoint latest" in said
    rename(output / "checkpoint-4", "another")
    (said,) = find_foreign_checkpoints(output, own, "second")
    assert f"holds checkpoint-4, which is of another training than {own}: choose another --output-dir" in said


def test_a_checkpoint_that_does_not_say_what_it_is_of_is_named(folder: Path) -> None:
    output = folder / "one"
    (output / "checkpoint-4" / STATE).write_text("{")
    for start in (output / "checkpoint-8", None):
        said = list(find_foreign_checkpoints(output, start, "first"))
        assert said == [
            f"{output} holds checkpoint-4, which does not say what it is of: remove it, or choose another --output-dir"
        ]


def test_checkpoints_of_an_earlier_version_are_of_one_training(folder: Path) -> None:
    output = folder / "one"
    for step in (4, 8, 12):
        rename(output / checkpoint_name(step), None)
    assert list(find_foreign_checkpoints(output, output / "checkpoint-8", "second")) == []


@pytest.mark.usefixtures("tiny_world")
def test_no_checkpoint_of_another_training_is_compared(folder: Path, tmp_path: Path) -> None:
    output, elsewhere = folder / "one", tmp_path / "elsewhere"
    job = make_job(output, folder / "pictures").model_copy(update={"training": "first"})
    assert [one.step for one in checkpoints_of(output, job)] == [4, 8, 12]
    rename(output / "checkpoint-4", "another")
    assert [one.step for one in checkpoints_of(output, job)] == [8, 12]
    shutil.move(output / "checkpoint-8", tmp_path / "checkpoint-8")  # as when only the newest are kept
    went_on = job.model_copy(update={"start": str(output / "checkpoint-8")})
    assert [one.step for one in checkpoints_of(output, went_on)] == [12]
    moved = job.model_copy(update={"start": str(output / "checkpoint-12")})
    elsewhere.mkdir()
    assert [one.path for one in checkpoints_of(elsewhere, moved)] == [str(output / "checkpoint-12")]
    shutil.copytree(output / "checkpoint-4", elsewhere / "checkpoint-4")
    assert [one.step for one in checkpoints_of(elsewhere, moved)] == [12]
