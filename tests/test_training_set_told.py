"""A wrong set of pictures is told at once: while a server starts for the run, and before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from training_runs import draw_pictures

from flows.commands.training import check, parse
from models.errors import StoryboardError
from models.lora.data import dataset
from models.lora.data.pictures import open_picture
from models.lora.options import TrainingOptions


def faulty(folder: Path) -> str:
    (draw_pictures(folder, 3, sizes=((256, 256),)) / "001.txt").unlink()
    return "001.png: "


def single(folder: Path) -> str:
    draw_pictures(folder, 1, sizes=((256, 256),))
    return f"train_data_dir: {folder.absolute()} holds one picture, and checkpoints are measured by how different"


def absent(folder: Path) -> str:
    return "train_data_dir: "


def too_short(folder: Path) -> str:
    draw_pictures(folder, 2, sizes=((256, 256),))
    Path("epochs.yaml").write_text("{max_train_steps: null, warmup_steps: 9}\n")
    return "warmup_steps 9 is no less than the 1 updates there are"


@pytest.mark.parametrize("make", [faulty, single, absent, too_short])
def test_a_wrong_set_is_told_before_the_run(make: Callable[[Path], str]) -> None:
    Path("epochs.yaml").write_text("seed: 7\n")
    words = make(Path("set"))
    with pytest.raises(StoryboardError) as told:
        check(parse(["--train-data-dir", "set", "--config", "epochs.yaml"]))
    assert str(told.value).startswith(words)
    assert len(str(told.value).splitlines()) == 1


def test_two_pictures_are_enough_and_each_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = open_picture

    def noted(path: Path) -> object:
        opened.append(path.name)
        return real(path)

    monkeypatch.setattr(dataset, "open_picture", noted)
    options = TrainingOptions(train_data_dir=str(draw_pictures(Path("two"), 2, sizes=((256, 256),))))
    check(options)
    training_set = dataset.read_set(options, lambda text: len(text.split()))
    assert (len(training_set.train), len(training_set.validation)) == (2, 0)
    assert opened == ["000.png", "001.png"]
