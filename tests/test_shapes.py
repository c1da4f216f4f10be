"""Boards of other shapes than squares: how a shape is given, and what is painted, shown and redone in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from flow_runs import Ran, Stage
from PIL import Image, ImageDraw
from redo_runs import redo, refused
from written_boards import render_config_of

from models.errors import ChecksFailed
from models.frames.generate import FrameJob, candidate_key
from models.frames.recipe import read_recipe
from models.frames.render_config import render_settings
from models.preflight.checks import require
from models.records import FramePrompt, Scene
from models.secrets.keys import Keys
from models.settings import StoryboardOptions, with_environment
from models.sizes import Size


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("STORYBOARD_ASPECT=16:9", {"width": 320, "height": 200}),
        ("STORYBOARD_WIDTH=320\nSTORYBOARD_HEIGHT=200", {"aspect": "9:16"}),
    ],
)
def test_a_given_shape_replaces_the_environments_whichever_way_each_is_said(
    line: str, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(f"{line}\nSTORYBOARD_SEED=1\n")
    assert with_environment(StoryboardOptions(**given)) == StoryboardOptions(seed=1, **given)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, Size(256, 256)),
        ({"profile": "sdxl", "aspect": "9:16"}, Size(768, 1344)),
        ({"profile": "sdxl", "aspect": "2.39:1"}, Size(1536, 640)),
        ({"profile": "sdxl", "width": 320, "height": 200}, Size(320, 200)),
    ],
)
def test_the_size_is_decided_once(given: dict[str, Any], size: Size) -> None:
    options = StoryboardOptions.model_validate(given)
    settings = render_settings(options, options.get_profile())
    assert settings.size == size
    assert type(settings).model_validate_json(settings.model_dump_json()) == settings


def key(original_scale: float = 1.0, **given: Any) -> str:
    """The store's key of a candidate for frame 1."""
    options = StoryboardOptions(device="cpu", output_dir="/x", guidance=3.0, steps=25, **given)
    config = render_config_of(options).model_copy(update={"original_scale": original_scale})
    scene = Scene(number=1, caption="c", action="a", place="x", time="y", shot="z")
    prompt = FramePrompt(scene=scene, prompt="aldar", negative_prompt="", tokens=9)
    return candidate_key(FrameJob(render_config=config, prompt=prompt, reference=None), 0)


def test_stored_squares_are_found_again_and_each_shape_has_its_own_key() -> None:
    square = "85127d690512816fc49a32afccff8ffa974191423ea64f3ecfc2f5d3d0758a5a"  # of the version before shapes
    assert key() == key(aspect="1:1") == key(width=256, height=256) == square
    others = key(width=336, height=192), key(width=192, height=336), key(original_scale=4.0)
    assert len({square, *others}) == 4


@pytest.fixture
def wide(stage: Stage) -> Ran:
    """A board of two frames, painted with the aspect 16:9 of the tiny profile."""
    return stage.run(frames=2, aspect="16:9")


def test_every_picture_has_the_shape_and_says_so(wide: Ran) -> None:
    assert wide.report.options.aspect == "16:9"
    assert wide.report.render_config is not None
    assert wide.report.render_config.size == Size(120, 72)
    for frame in wide.report.frames:
        with Image.open(wide.board / frame.file) as picture:
            assert picture.size == (120, 72)
            assert "Size: 120x72," in picture.info["parameters"]
        assert read_recipe(wide.board / frame.file).size == Size(120, 72)
    assert wide.report.warnings == ()


def test_a_frame_redone_with_its_own_seed_is_the_same_bytes(wide: Ran) -> None:
    picture = (wide.board / "frame_002.png").read_bytes()
    shutil.rmtree(wide.output / ".store")
    assert refused(redo(wide.board, 2, seed=2042)).startswith("frame 2: seed 2042 gives the present picture again; ")
    other = redo(wide.board, 2).report.frames[1]
    assert (other.seed, other.takes[0].seed) == (2052, 2042)
    with Image.open(wide.board / "frame_002.png") as redone:
        assert redone.size == (120, 72)
    shutil.rmtree(wide.output / ".store")
    redo(wide.board, 2, seed=2042)
    assert (wide.board / "frame_002.png").read_bytes() == picture


def test_a_square_sketch_leads_a_wide_frame(wide: Ran, tmp_path: Path) -> None:
    sketch = Image.new("RGB", (200, 200), "white")
    ImageDraw.Draw(sketch).ellipse((20, 20, 180, 180), outline="black", width=8)
    sketch.save(tmp_path / "sketch.png")
    before = (wide.board / "frame_002.png").read_bytes()
    redone = redo(wide.board, 2, sketch=str(tmp_path / "sketch.png"))
    assert redone.report.frames[1].sketch == str(tmp_path / "sketch.png")
    assert (wide.board / "frame_002.png").read_bytes() != before
    assert read_recipe(wide.board / "frame_002.png").size == Size(120, 72)


def test_the_checks_refuse_an_aspect_that_the_profile_lacks_with_those_that_it_has() -> None:
    with pytest.raises(ChecksFailed, match="aspect 4:3: profile steppe has 1:1, 16:9, 9:16; or give width and height"):
        require(StoryboardOptions(aspect="4:3", device="cpu"), Keys(), "run")
