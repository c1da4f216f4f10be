"""Checkpoints paint, are measured and compared, with a tiny random SDXL and tiny random LoRAs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_evaluation
import tiny_loras
import tiny_models
import torch
from PIL import Image
from tiny_evaluation import CHARACTER, UNRELATED, Compared, Trials, scaled
from tiny_loras import Tensors, save_checkpoint

from models.board.contact_sheet import CLAY
from models.diffusion import loading, painter
from models.errors import ObjectNotFound, PaintError
from models.frames.recipe import read_recipe
from models.lora.comparison import scores
from models.lora.comparison.choice import NO_DRIFT, RULE
from models.lora.comparison.evaluation import read_adapter
from models.lora.records import Checkpoint
from models.profiles import ROOT, get_profile
from models.sizes import Size
from models.vision.clip import load_scorer

tiny_world = tiny_models.tiny_world
base, lora = tiny_loras.base, tiny_loras.lora
made_once, compared = tiny_evaluation.made_once, tiny_evaluation.compared
trials, painted = tiny_evaluation.trials, tiny_evaluation.painted


def test_every_checkpoint_paints_every_prompt_with_every_seed(compared: Compared) -> None:
    trials, comparison = compared
    expected = sorted(f"{number:02d}_{seed}.png" for number in range(1, 6) for seed in (7, 1007))
    for name in ("base", "checkpoint-100", "checkpoint-200", "checkpoint-300"):
        assert trials.pictures(name) == expected
    recipe = read_recipe(trials.folder / "samples" / "checkpoint-100" / "04_1007.png")
    assert (recipe.prompt, recipe.seed, recipe.frame, recipe.size) == (UNRELATED[0], 1007, 4, Size.square(64))
    assert recipe.adapter == read_adapter(comparison.rows[0].checkpoint).fingerprint
    assert [row.checkpoint.step for row in comparison.rows] == [100, 200, 300]
    assert comparison.rule == RULE
    assert len({row.image_similarity for row in comparison.rows}) == 3


def test_the_grid_frames_the_chosen_checkpoint(compared: Compared) -> None:
    _, comparison = compared
    with Image.open(comparison.grid) as grid:
        pixels = np.asarray(grid.convert("RGB"), int)
    frame = np.nonzero(np.abs(pixels[:, 18] - CLAY).max(axis=1) < 40)[0]
    below = pixels.shape[0] - frame.max()
    rows_below = round(below / (frame.max() - frame.min()) - 0.2)  # the legend is a fifth of a row
    assert comparison.rows[-1 - rows_below].checkpoint == comparison.chosen


def test_progress_rises_to_one(compared: Compared) -> None:
    told = compared.trials.told[:]
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) > 4 * 10
    assert {"base", "checkpoint-100", "measuring"} <= {what.partition(":")[0] for what, _ in told}


def features(scorer: Any, folder: Path, numbers: range) -> np.ndarray:
    """[prompts, seeds, features] of what lies in a folder."""
    files = [[folder / f"{number:02d}_{seed}.png" for seed in (7, 1007)] for number in numbers]
    return np.array([[scorer.image_features([Image.open(file)])[0].numpy() for file in row] for row in files], float)


@pytest.fixture
def measurable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random base hardly follows its prompts; this takes the little that there is for a measure."""
    monkeypatch.setattr(scores, "LEAST_CONTRAST", 0.0)


def contrast(pictures: np.ndarray, texts: np.ndarray) -> float:
    """Of the pictures of two prompts."""
    own, other = (np.einsum("psf,pf->ps", pictures, order).mean() for order in (texts, texts[::-1]))
    return float(own - other)


def test_scores_are_those_of_the_pictures_on_disk_and_the_choice_is_theirs(
    compared: Compared, measurable: None
) -> None:
    trials = compared.trials
    comparison = trials.run([row.checkpoint for row in compared.comparison.rows], lambda *_: None)
    scorer = load_scorer(get_profile("tiny"), "cpu")
    squares = [Image.open(each.file).resize((77, 64), Image.Resampling.LANCZOS) for each in trials.training_set.train]
    training = scorer.image_features([square.crop((6, 0, 70, 64)) for square in squares]).numpy().astype(float)
    mean = training.mean(0) / np.linalg.norm(training.mean(0))
    texts = np.concatenate([scorer.text_features(text).numpy() for text in (*CHARACTER, *UNRELATED)]).astype(float)
    samples = trials.folder / "samples"
    bare = features(scorer, samples / "base", range(4, 6))
    unit = contrast(bare, texts[3:])
    for row in comparison.rows:
        own = features(scorer, samples / f"checkpoint-{row.checkpoint.step}", range(1, 4))
        other = features(scorer, samples / f"checkpoint-{row.checkpoint.step}", range(4, 6))
        apart = [1 - own[a, seed] @ own[b, seed] for seed in (0, 1) for a, b in ((0, 1), (0, 2), (1, 2))]
        assert row.image_similarity == pytest.approx(float((own @ mean).mean()), abs=1e-5)
        assert row.text_image_similarity == pytest.approx(
            float(np.einsum("psf,pf->ps", own, texts[:3]).mean()), abs=1e-5
        )
        assert row.variety == pytest.approx(float(np.mean(apart)), abs=1e-5)
        assert row.drift == pytest.approx(1 - contrast(other, texts[3:]) / unit, abs=0.02)
    best = min(comparison.rows, key=lambda row: (len(row.failed), -round(row.image_similarity, 3), row.checkpoint.step))
    assert comparison.chosen == best.checkpoint


def test_a_drift_that_a_random_base_does_not_show_is_told_and_no_pass(compared: Compared) -> None:
    assert [row.drift for row in compared.comparison.rows] == [None] * 3
    assert all(NO_DRIFT in row.failed for row in compared.comparison.rows)
    assert "no checkpoint reaches every bar" in compared.comparison.reason


def test_a_lora_of_zeros_scores_as_the_base(trials: Trials, measurable: None) -> None:
    comparison = trials.run([trials.checkpoint(100, 0.0)])
    assert comparison.rows[0].drift == pytest.approx(0, abs=1e-3)
    assert "no more than the bare base" in comparison.reason
    for name in trials.pictures("checkpoint-100"):
        ours, theirs = (Image.open(trials.folder / "samples" / place / name) for place in ("base", "checkpoint-100"))
        assert ours.tobytes() == theirs.tobytes()


def test_a_retry_paints_and_loads_nothing_again(
    compared: Compared, painted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("nothing should be loaded")

    monkeypatch.setattr(loading, "load", load)
    trials, comparison = compared
    assert trials.run([row.checkpoint for row in comparison.rows], lambda *_: None) == comparison
    assert painted == []


def test_what_changed_is_painted_anew_and_nothing_else(trials: Trials, painted: list[str], lora: Tensors) -> None:
    checkpoints = [trials.checkpoint(100, 0.5), trials.checkpoint(200, 2.0)]
    trials.run(checkpoints, validation_seeds=1)
    painted.clear()
    (trials.folder / "samples" / "base" / "02_7.png").write_bytes(b"changed")
    (trials.folder / "samples" / "checkpoint-100" / "03_7.png").unlink()
    (trials.folder / "samples" / "checkpoint-200" / "05_7.json").write_text("{")
    trials.run(checkpoints, validation_seeds=1)
    assert painted == [CHARACTER[1], CHARACTER[2], UNRELATED[1]]
    painted.clear()
    weights = Path(checkpoints[1].path) / "unet_lora" / "adapter_model.safetensors"
    save_checkpoint(trials.folder / "other", scaled(lora, 1.5))
    weights.write_bytes((trials.folder / "other" / "unet_lora" / weights.name).read_bytes())
    trials.run(checkpoints, validation_seeds=1)
    assert len(painted) == 5
    painted.clear()
    trials.run(checkpoints, validation_seeds=1, unrelated_prompts=[UNRELATED[0], "a cat"])
    assert painted == ["a cat"] * 3


def test_what_a_training_goes_on_from_does_not_make_another_adapter(trials: Trials) -> None:
    written = trials.checkpoint(100, 1.0)
    before = read_adapter(written)
    (Path(written.path) / "resume").mkdir()
    (Path(written.path) / "resume" / "state.pt").write_bytes(b"optimizer")
    assert read_adapter(written) == before


def test_one_seed_is_enough(trials: Trials) -> None:
    trials.run([trials.checkpoint(100, 0.5)], validation_seeds=1)
    expected = [f"0{number}_7.png" for number in range(1, 6)]
    assert trials.pictures("base") == trials.pictures("checkpoint-100") == expected


def test_a_stop_leaves_what_was_painted_and_nothing_loaded(trials: Trials, painted: list[str]) -> None:
    checkpoints = [trials.checkpoint(100, 0.5)]

    def stop(what: str, share: float) -> None:
        if what.startswith("checkpoint-100: painting 4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trials.run(checkpoints, stop, validation_seeds=1)
    assert not loading._MODEL_CACHE.models
    assert len(trials.pictures("checkpoint-100")) == 3
    painted.clear()
    trials.run(checkpoints, validation_seeds=1)
    assert len(painted) == 2


def test_a_checkpoint_of_broken_numbers_loses(trials: Trials) -> None:
    broken = trials.checkpoint(100, 1e38)
    comparison = trials.run([broken, trials.checkpoint(200, 0.5)], validation_seeds=1)
    assert comparison.chosen.step == 200
    assert "5 painted with numbers that are not finite" in comparison.rows[0].failed
    entry = json.loads((trials.folder / "samples" / "checkpoint-100" / "01_7.json").read_text())
    assert entry["finite"] is False
    with pytest.raises(PaintError, match="every checkpoint painted numbers that are not finite in fp32"):
        trials.run([broken], validation_seeds=1)


def test_a_base_of_broken_numbers_is_an_error(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painter, "starting_noise", lambda *_: torch.full((1, 4, 8, 8), float("nan")))
    with pytest.raises(PaintError, match=r"the bare base painted 10 picture.*; paint in bf16 or fp32"):
        trials.run([trials.checkpoint(100, 0.5)])


def test_a_checkpoint_that_is_gone_is_told_before_anything_is_painted(trials: Trials, painted: list[str]) -> None:
    with pytest.raises(ObjectNotFound, match="no LoRA here"):
        trials.run([Checkpoint(path=str(trials.folder / "checkpoint-9"), step=9, loss=0.1)])
    with pytest.raises(ValueError, match="no checkpoint"):
        trials.run([])
    assert painted == []


def test_what_the_flow_names_first_needs_neither_torch_nor_matplotlib() -> None:
    modules = "models.lora.comparison.evaluation, models.lora.comparison.grid, models.lora.training.curve"
    code = f"import sys, {modules}; print(*sorted({{'torch', 'matplotlib'}} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
