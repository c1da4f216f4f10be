"""A picture carries how it was painted, for other people's readers and for ours."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import ValidationError

from models.errors import InputError, ObjectNotFound
from models.frames.recipe import Control, PaintedLora, Recipe, png_bytes, read_recipe
from models.sizes import Size

RECIPE = Recipe(
    prompt="aldar_kose_man, talking to the merchant, bazaar",
    negative_prompt="photo, blurry",
    seed=2042,
    steps=25,
    guidance=3.0,
    size=64,
    sampler="Euler",
    profile="steppe",
    base="0123456789abcdef" * 4,
    adapter="fedcba9876543210" * 4,
    loras=(PaintedLora(name="aldar", fingerprint="fedcba9876543210" * 4, strength=0.75),),
    control=Control(kind="reference", scale=0.35, end=0.4),
    frame=2,
    story="Алдар Көсе байды алдады",
    version="1.2.3",
)
HARD = [
    "two\nlines",
    'a "quoted" word',
    "comma, colon: Steps: 3, Seed: 7",
    "Әңгіме ғұмыр",
    "🐫 中文",
    "back\\slash",
    "ö",
]


def picture() -> Image.Image:
    return Image.merge("RGB", [Image.linear_gradient("L").resize((64, 64)).rotate(90 * turn) for turn in range(3)])


def saved(tmp_path: Path, recipe: Recipe) -> Path:
    path = tmp_path / "frame.png"
    path.write_bytes(png_bytes(picture(), recipe))
    return path


def parse_as_a1111_does(text: str) -> dict[str, str]:
    """The conventions of AUTOMATIC1111's infotext: the last line holds the pairs if there are at least three."""
    pair = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
    *lines, last = text.strip().split("\n")
    assert len(pair.findall(last)) >= 3
    words: dict[str, list[str]] = {"Prompt": [], "Negative prompt": []}
    part = "Prompt"
    for line in lines:
        if line.strip().startswith("Negative prompt:"):
            part, line = "Negative prompt", line.strip()[len("Negative prompt:") :]  # noqa: PLW2901
        words[part].append(line.strip())
    found = {name: "\n".join(value) for name, value in words.items()}
    for name, value in pair.findall(last):
        found[name] = json.loads(value) if value[0] == value[-1] == '"' else value
    return found


def test_other_readers_find_prompt_seed_and_settings(tmp_path: Path) -> None:
    with Image.open(saved(tmp_path, RECIPE)) as image:
        found = parse_as_a1111_does(image.info["parameters"])
    assert found == {
        "Prompt": RECIPE.prompt,
        "Negative prompt": RECIPE.negative_prompt,
        "Steps": "25",
        "Sampler": "Euler",
        "CFG scale": "3.0",
        "Seed": "2042",
        "Size": "64x64",
        "Model hash": "0123456789",
        "Model": "steppe",
        "ControlNet 0": "Module: canny, Image: reference, Weight: 0.35, Guidance Start: 0.0, Guidance End: 0.4",
        "Lora hashes": "aldar: fedcba9876",
        "Lora strengths": "aldar: 0.75",
        "Frame": "2",
        "Version": "aldar-kose-storyboard 1.2.3",
    }


def test_a_shape_is_named_by_width_and_height_and_a_square_is_written_as_it_always_was(tmp_path: Path) -> None:
    wide = RECIPE.model_copy(update={"size": Size(336, 192)})
    path = saved(tmp_path, wide)
    with Image.open(path) as image:
        assert parse_as_a1111_does(image.info["parameters"])["Size"] == "336x192"
    assert read_recipe(path) == wide
    text = RECIPE.model_dump_json()
    assert '"guidance":3.0,"size":64,"sampler"' in text  # so that squares painted anew keep their bytes
    assert Recipe.model_validate_json(text).size == Size(64, 64)


@pytest.mark.parametrize("size", ["336", "336x", "100x100", "0x64", [64], [64, 64.0], 12, None, {}])
def test_what_is_no_size_is_refused(size: object) -> None:
    with pytest.raises(ValidationError, match="width and height"):
        Recipe.model_validate(RECIPE.model_dump() | {"size": size})


def test_what_was_not_used_is_not_named(tmp_path: Path) -> None:
    bare = RECIPE.model_copy(update={"negative_prompt": "", "adapter": None, "loras": (), "control": None})
    with Image.open(saved(tmp_path, bare)) as image:
        text = image.info["parameters"]
    assert "Negative" not in text
    assert parse_as_a1111_does(text).keys().isdisjoint({"ControlNet 0", "Lora hashes", "Lora strengths"})


@pytest.mark.parametrize("text", HARD)
def test_any_text_comes_back_from_both_forms(text: str, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"prompt": text, "negative_prompt": f"no {text}", "sampler": text, "story": text})
    path = saved(tmp_path, recipe)
    assert read_recipe(path) == recipe
    with Image.open(path) as image:
        found = parse_as_a1111_does(image.info["parameters"])
    assert (found["Prompt"], found["Negative prompt"], found["Sampler"]) == (text, f"no {text}", text)
    assert (found["Seed"], found["Steps"]) == ("2042", "25")


def test_the_same_picture_and_recipe_are_the_same_bytes() -> None:
    dressed = picture().convert("RGBA")
    dressed.info.update({"dpi": (300, 300), "icc_profile": b"profile", "date": "today", "gamma": 0.4})
    data = png_bytes(picture(), RECIPE)
    assert png_bytes(dressed, RECIPE) == data
    assert png_bytes(picture(), RECIPE.model_copy(update={"seed": 2052})) != data
    assert png_bytes(picture().rotate(90), RECIPE) != data


def test_the_pixels_are_those_that_were_painted(tmp_path: Path) -> None:
    with Image.open(saved(tmp_path, RECIPE)) as image:
        assert image.mode == "RGB"
        assert image.tobytes() == picture().tobytes()


def test_only_text_and_pixels_are_in_the_file() -> None:
    data = png_bytes(picture(), RECIPE)
    assert set(re.findall(rb"IHDR|tEXt|iTXt|zTXt|tIME|pHYs|iCCP|gAMA|eXIf|IEND", data)) == {
        b"IHDR",
        b"tEXt",  # the parameters, which are Latin here
        b"iTXt",  # the story is not
        b"IEND",
    }


def png_with(text: str | None) -> bytes:
    chunks = PngInfo()
    if text is not None:
        chunks.add_itxt("aldar_storyboard", text)
    buffer = io.BytesIO()
    picture().save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png_with(None), "has no recipe"),
        (png_with("{}"), r"cannot read \(prompt, "),
        (png_with("no json"), "cannot read"),
        (png_with(RECIPE.model_dump_json()[:-1] + ', "from_the_future": 1}'), r"cannot read \(from_the_future\)"),
        (b"", "not a readable picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "not a readable picture"),
    ],
)
def test_a_picture_without_a_readable_recipe_says_so(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)


def test_no_picture_says_so(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFound, match="no picture at"):
        read_recipe(tmp_path / "none.png")
