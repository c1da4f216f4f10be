"""A board of a book counts while the weights are those that it was painted with, and no longer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_loras
from prefect.logging import disable_run_logger
from tiny_loras import Tensors
from tiny_publication import halved
from written_boards import STORY, WEIGHTS, options_of, render_config_of, write_board

from models.book.stories import open_book
from models.diffusion.weights import fingerprints
from models.preflight.components import fingerprints_here
from models.profiles import PROFILES
from models.records import Weights
from models.sources import Component
from tasks.weights import find_weights

base, lora = tiny_loras.base, tiny_loras.lora


def found(output: Path, weights: Callable[[], Weights | None]) -> str | None:
    """The directory that a book takes for the story, if it takes one."""
    (chapter,) = open_book([STORY], options_of(output), weights).chapters
    return chapter.directory


@pytest.mark.parametrize("name", ["base", "controlnet", "clip", "adapter"])
def test_a_board_of_other_weights_does_not_count(tmp_path: Path, name: str) -> None:
    board = write_board(tmp_path)
    assert found(tmp_path, lambda: WEIGHTS) == str(board)
    assert found(tmp_path, lambda: WEIGHTS.model_copy(update={name: "0" * 64})) is None
    assert found(tmp_path, lambda: None) is None


def test_a_board_of_other_defaults_of_its_profile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    board, plain = write_board(tmp_path), PROFILES["steppe"]
    monkeypatch.setitem(PROFILES, "steppe", plain.model_copy(update={"guidance": 9.0, "memory": 1}))
    with caplog.at_level("INFO", "models.book"):
        assert found(tmp_path, lambda: WEIGHTS) is None
    assert f"{board} is not used: guidance changed since it was painted" in caplog.text
    monkeypatch.setitem(PROFILES, "steppe", plain.model_copy(update={"memory": 1}))
    assert found(tmp_path, lambda: WEIGHTS) == str(board)


def test_an_older_board_of_these_weights_counts_before_a_newer_one_of_others(tmp_path: Path) -> None:
    old = write_board(tmp_path)
    new = write_board(tmp_path, weights=WEIGHTS.model_copy(update={"adapter": "0" * 64}))
    os.utime(old, (1, 1))
    assert new != old
    assert found(tmp_path, lambda: WEIGHTS) == str(old)


def test_weights_are_asked_for_only_where_there_is_a_board(tmp_path: Path) -> None:
    def never() -> Weights | None:
        raise AssertionError("nothing needs to be hashed")

    assert found(tmp_path, never) is None


def test_a_lora_that_was_trained_anew_behind_the_same_path_is_another(tmp_path: Path, lora: Tensors) -> None:
    path = tiny_loras.as_checkpoint(tmp_path / "lora", lora)
    options = options_of(tmp_path, lora_path=str(path))
    with disable_run_logger():
        before = find_weights(options)
        kept = path.rename(tmp_path / "kept")
        tiny_loras.as_checkpoint(tmp_path / "lora", halved(lora))
        after = find_weights(options)
        shutil.rmtree(path)
        kept.rename(path)
        again = find_weights(options)
        bare = find_weights(options_of(tmp_path, lora_path="none", pipeline="simplified"))
        shutil.rmtree(path)
        gone = find_weights(options)
    assert before is not None
    assert after is not None
    assert before.unlike(after) == "adapter"
    assert again == before
    assert bare == before.model_copy(update={"adapter": None, "controlnet": None})
    assert gone is None


@pytest.mark.parametrize(
    "given", [{}, {"pipeline": "simplified"}, {"vae": str(PROFILES["steppe"].base.source) + "/vae"}]
)
def test_what_is_asked_before_a_board_is_what_is_told_after_it(tmp_path: Path, given: dict[str, str]) -> None:
    options = options_of(tmp_path, **given)
    found = fingerprints_here(options, options.get_profile())
    assert found == fingerprints(render_config_of(options).setup)
    assert found is not None
    assert (found["controlnet"] is None) == ("pipeline" in given)


def test_a_base_that_is_not_here_yet_is_not_fetched_to_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = PROFILES["steppe"].model_copy(update={"base": Component(source="nobody/no-such-base", size=1)})
    monkeypatch.setitem(PROFILES, "steppe", far)
    with disable_run_logger():
        assert find_weights(options_of(tmp_path)) is None
