"""What is told of a published character: its model card, and the header of its kohya file."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from typing import Any

import pytest
import tiny_loras
import tiny_models
from huggingface_hub import ModelCard
from tiny_loras import Tensors
from tiny_publication import save_checkpoint, told

from flows.commands.storyboard import parse
from models.board.markdown import escape
from models.lora.publishing.card import file_metadata, model_card
from models.profiles import SDXL, Profile
from models.sizes import Size

base, lora = tiny_loras.base, tiny_loras.lora
tiny_world = tiny_models.tiny_world


def data_of(text: str) -> dict[str, Any]:
    """The card's YAML, as the hub reads it."""
    return dict(ModelCard(text).data.to_dict())  # type: ignore[no-untyped-call]


def test_the_card_says_what_it_is_and_how_it_was_chosen(tmp_path: Path) -> None:
    options, training_set, comparison = told(tmp_path / "grid.png", profile="sdxl", trigger="aldar_kose_man")
    text = model_card(options, training_set, comparison, SDXL.base.source)
    data = data_of(text)
    assert data["base_model"] == SDXL.base.source
    assert data["instance_prompt"] == "aldar_kose_man"
    assert {"lora", "text-to-image", "stable-diffusion-xl"} <= set(data["tags"])
    assert data["widget"][0]["output"]["url"] == "samples.png"
    for words in (
        "trained on 2 pictures in 200 steps",
        "2 trained on, 1 validation pictures",
        "](samples.png)",
        "Reason: most alike",
        "Rule: bars, then image similarity",
        "| 200 (published) | 0.1000 | 0.0500 | 0.900 | 0.250 | not measured | 0.500 | none |",
        "| 100 | 0.1000 | not measured |",
        r"variety 0.1 \| bar 0.2",
        "trained at alpha / rank =\n0.5, which is multiplied into the weights, and every file says alpha = rank",
        "| resolution | 1024x1024 |",
        "| target\\_modules | to\\_q, to\\_v |",
    ):
        assert words in text, words


def test_the_card_counts_repeats_and_files_that_are_not_used(tmp_path: Path) -> None:
    options, training_set, comparison = told(tmp_path / "grid.png", profile="sdxl", trigger="aldar_kose_man")
    train = tuple(picture.model_copy(update={"repeats": 5}) for picture in training_set.train)
    changes = {"train": train, "passed_over": ("a.md: no picture and no caption",)}
    text = model_card(options, training_set.model_copy(update=changes), comparison, SDXL.base.source)
    assert "2 trained on, 1 validation pictures, with repeats 10 in a pass, 1 other files not used" in text


def test_a_card_counts_the_pictures_of_each_aspect_bucket(tmp_path: Path) -> None:
    options, training_set, comparison = told(tmp_path / "grid.png", profile="sdxl", aspect_buckets=True)
    sizes = zip(training_set.train, (Size.square(1024), Size(832, 1216)), strict=True)
    train = tuple(picture.model_copy(update={"bucket": size, "repeats": 3}) for picture, size in sizes)
    text = model_card(options, training_set.model_copy(update={"train": train}), comparison, SDXL.base.source)
    assert "| aspect buckets | 832x1216 (3), 1024x1024 (3) |" in text


def test_a_card_says_what_was_not_measured(tmp_path: Path) -> None:
    options, training_set, comparison = told(tmp_path / "grid.png", profile="sdxl", trigger="aldar_kose_man")
    rows = tuple(row.model_copy(update={"drift": None}) for row in comparison.rows)
    text = model_card(options, training_set, comparison.model_copy(update={"rows": rows}), SDXL.base.source)
    assert "| 0.900 | 0.250 | not measured | not measured | none |" in text


def test_the_commands_of_a_card_are_understood(tmp_path: Path) -> None:
    options, training_set, comparison = told(tmp_path / "grid.png", profile="sdxl", publish_to="s3://steppe/a b")
    _, command, between, snippet, *_ = model_card(options, training_set, comparison, SDXL.base.source).split("```")
    words = shlex.split(command.removeprefix("sh").replace("\\\n", ""))
    assert words[:3] == ["python", "-m", "flows.storyboard"]
    _, storyboard = parse(words[3:])
    assert (storyboard.profile, storyboard.lora_path) == ("sdxl", "s3://steppe/a b/aldar")
    assert "`aws s3 cp --recursive 's3://steppe/a b/aldar' aldar`" in between
    texts = [
        node.value for node in ast.walk(ast.parse(snippet.removeprefix("python"))) if isinstance(node, ast.Constant)
    ]
    assert {SDXL.base.source, "aldar", "pytorch_lora_weights.safetensors", "aldar in a yurt"} <= set(texts)


@pytest.mark.parametrize("place", ["/home/person/published", "~/published", "../person/published", "published"])
def test_a_card_says_nothing_of_the_publishers_folders(place: str, tmp_path: Path) -> None:
    options, training_set, comparison = told(tmp_path / "grid.png", profile="sdxl", publish_to=place)
    text = model_card(options, training_set, comparison, SDXL.base.source)
    assert "person" not in text
    assert "~" not in text
    assert str(tmp_path) not in text
    _, command, _, snippet, *_ = text.split("```")
    words = shlex.split(command.removeprefix("sh").replace("\\\n", ""))
    assert words[-2:] == ["--lora-path", "aldar"]
    assert 'load_lora_weights("aldar", ' in snippet
    assert text.count("from the folder that holds `aldar`") == 2


def test_free_text_can_not_break_a_card(tmp_path: Path) -> None:
    hostile = "a | b\n# c <img src=x> [d](http://e) `f` *g* \\"
    caption = 'says "hi" \\ and ```\n leaves'
    options, training_set, comparison = told(tmp_path / "grid.png", reason=hostile, caption=caption, trigger='a:"|#`')
    text = model_card(options, training_set, comparison, "/home/person/bases/steppe")
    assert "/home/person" not in text
    assert "base_model" not in data_of(text)
    assert data_of(text)["instance_prompt"] == 'a:"|#`'
    assert r"Reason: a \| b \# c \<img src=x\> \[d\](http://e) \`f\` \*g\* \\" in text
    rows = [line for line in text.splitlines() if line.startswith(("| 1", "| 2"))]
    assert {line.replace(r"\|", "").count("|") for line in rows} == {9}
    assert escape("a_b") == r"a\_b"


def test_the_kohya_header_tells_of_the_training(tiny_world: Profile, lora: Tensors, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint-300", lora)
    options, *_ = told(tmp_path / "grid.png", profile=tiny_world.name, trigger="aldar_kose_man")
    said = file_metadata(options, checkpoint)
    assert said.pop("modelspec.date").endswith("+00:00")
    assert said == {
        "ss_output_name": "aldar",
        "ss_sd_model_name": "tiny_world",
        "modelspec.title": "aldar",
        "modelspec.resolution": "64x64",
        "modelspec.trigger_phrase": "aldar_kose_man",
        "modelspec.prediction_type": "epsilon",
    }
