"""Profiles that people write themselves, in a file that the environment names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.errors import InputError
from models.profiles import ROOT, SDXL, STEPPE, Profile, read_own
from models.settings import StoryboardOptions
from models.sizes import Size
from models.sources import OWN_PROFILES, Component, locate


def written(folder: Path, profiles: Any) -> Path:
    file = folder / "profiles.json"
    file.write_text(json.dumps(profiles), encoding="utf-8")
    return file


def test_a_profile_names_only_what_differs(tmp_path: Path) -> None:
    ink = {"like": "sdxl", "base": {"source": "/models/ink"}, "guidance": 6.5}
    own = read_own(written(tmp_path, {"ink": ink, "ink-small": {"like": "ink", "native_size": 512}}))
    assert own["ink"].base == Component(
        source="/models/ink", variant="fp16", size=0
    )  # of the hub's files nothing holds
    assert (own["ink"].guidance, own["ink"].clip, own["ink"].name) == (6.5, SDXL.clip, "ink")
    assert (own["ink-small"].native_size, own["ink-small"].guidance) == (512, 6.5)
    assert own["ink"].sizes == SDXL.sizes
    assert own["ink-small"].sizes == {"1:1": Size.square(512)}  # the other shapes of sdxl are of its own size


def test_a_profile_gives_its_own_shapes(tmp_path: Path) -> None:
    ink = {"like": "sdxl", "native_size": 512, "shapes": {"16:9": "672x384", "2.39:1": [768, 320]}}
    own = read_own(written(tmp_path, {"ink": ink, "oil": {"like": "ink"}}))["oil"]
    assert own.sizes == {"1:1": Size(512, 512), "16:9": Size(672, 384), "2.39:1": Size(768, 320)}
    assert Profile.model_validate_json(own.model_dump_json()) == own
    with pytest.raises(
        InputError, match=r"^aspect 9:16: profile oil has 1:1, 16:9, 2\.39:1; or give width and height$"
    ):
        own.size_of("9:16")


def test_the_shapes_of_both_profiles_are_alike() -> None:
    assert SDXL.size_of("2.39:1") == Size(1536, 640)
    assert STEPPE.sizes == {aspect: Size(*(side // 4 for side in SDXL.size_of(aspect))) for aspect in STEPPE.sizes}
    for profile in (SDXL, STEPPE):
        for aspect, size in profile.sizes.items():
            width, height = map(float, aspect.split(":"))
            assert size.width / size.height == pytest.approx(width / height, rel=0.04)


@pytest.mark.parametrize(
    ("profiles", "told"),
    [
        ([1], "it holds no JSON object"),
        ({"ink": {}}, "profile 'ink': say which it is like, \"like\": one of steppe, sdxl"),
        ({"ink": 3}, "profile 'ink': say which it is like"),
        ({"steppe": {"like": "sdxl"}}, "profile 'steppe' is there already; choose another name"),
        ({"ink": {"like": "sdxl", "guidence": 6}}, "guidence"),
        ({"ink": {"like": "sdxl", "steps": "many"}}, "steps"),
        ({"ink": {"like": "sdxl", "shapes": {"wide": "672x384"}}}, "shapes.0.aspect"),
        ({"ink": {"like": "sdxl", "shapes": {"16:9": "672x381"}}}, "width and height must be multiples of 8"),
        ({"ink": {"like": "sdxl", "shapes": {"16:9": "4096x2304"}}}, "width and height must be 64 to 2048"),
        ({"ink": {"like": "sdxl", "shapes": {"1:1": 512}}}, "1:1 is not set here: its side is native_size"),
    ],
)
def test_what_is_no_profile_is_refused_in_one_line(tmp_path: Path, profiles: Any, told: str) -> None:
    with pytest.raises(InputError) as error:
        read_own(written(tmp_path, profiles))
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert OWN_PROFILES in str(error.value)


def valid(file: Path | None, folder: Path = ROOT) -> str:
    """The profiles that a process knows with this file, in this folder."""
    command = [sys.executable, "-c", "from models.profiles import valid_profiles; print(valid_profiles())"]
    own = os.environ | {"PYTHONPATH": str(ROOT)} | ({} if file is None else {OWN_PROFILES: str(file)})
    return subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True, check=True).stdout.strip()


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, {"small": {"like": "steppe", "base": {"source": STEPPE.base.source}}})
    assert valid(file) == "valid profiles: steppe, sdxl, small"
    absent = tmp_path / "absent.json"
    assert valid(absent) == f"valid profiles: steppe, sdxl; {OWN_PROFILES}: {absent}: No such file or directory"


def test_so_does_env_where_the_environment_does_not(tmp_path: Path) -> None:
    file = written(tmp_path, {"small": {"like": "steppe", "base": {"source": STEPPE.base.source}}})
    (tmp_path / ".env").write_text(f"{OWN_PROFILES}=absent.json\nHF_TOKEN=x\n{OWN_PROFILES}={file}\n")
    assert valid(None, tmp_path) == "valid profiles: steppe, sdxl, small"
    assert OWN_PROFILES in valid(tmp_path / "other.json", tmp_path)
    (tmp_path / ".env").write_bytes(b"A=\xff")
    assert valid(None, tmp_path) == "valid profiles: steppe, sdxl"


def test_a_source_is_what_is_on_disk_else_a_repository_else_a_missing_path(tmp_path: Path) -> None:
    (tmp_path / "weights" / "ink").mkdir(parents=True)
    (tmp_path / "ink.safetensors").touch()
    assert locate("weights/ink", tmp_path) == (str(tmp_path / "weights" / "ink"), None)
    assert locate("ink.safetensors", tmp_path / "elsewhere", tmp_path) == (str(tmp_path / "ink.safetensors"), None)
    assert locate("studio/ink-xl", tmp_path) == ("studio/ink-xl", None)
    assert locate("studio/ink-xl@refs/pr/3", tmp_path) == ("studio/ink-xl", "refs/pr/3")
    assert locate("~/no such ink", tmp_path)[0] == str(Path.home() / "no such ink")
    for written in ("models/ink.safetensors", "./weights/none", "../ink/xl", "ink", "a/b/c", "стиль/тушь"):
        assert locate(written, tmp_path) == (str(tmp_path / written), None)


def test_a_path_in_the_file_is_beside_it_or_where_the_command_is_run(tmp_path: Path) -> None:
    there, here = tmp_path / "profiles", tmp_path / "run"
    (there / "models" / "ink").mkdir(parents=True)
    (here / "models" / "oil").mkdir(parents=True)
    os.chdir(here)  # the fixture of all tests brings it back
    vae = {"source": "studio/vae@v2", "size": 5}
    own = read_own(
        written(
            there,
            {
                "ink": {"like": "steppe", "base": {"source": "models/ink"}, "vae": vae},
                "oil": {"like": "sdxl", "base": {"source": "models/oil"}, "clip": {"source": "studio/clip"}},
            },
        )
    )
    assert own["ink"].base.source == str(there / "models" / "ink")
    assert own["ink"].vae == Component(source="studio/vae", revision="v2", size=5)
    assert own["oil"].base == Component(source=str(here / "models" / "oil"), variant="fp16", size=0)
    assert (own["oil"].clip.source, own["oil"].clip.revision) == ("studio/clip", None)


def test_options_put_models_in_place_of_the_profiles(tmp_path: Path) -> None:
    (tmp_path / "ink").mkdir()
    options = StoryboardOptions(base="ink", vae="studio/vae", clip="studio/clip@v1")
    profile = options.get_profile()
    assert profile.base == Component(source=str(tmp_path / "ink"), size=0)
    assert profile.vae == Component(source="studio/vae", size=0)
    assert profile.clip == Component(source="studio/clip", revision="v1", size=0, pickled=True)
    assert (profile.controlnet, profile.is_local) == (STEPPE.controlnet, False)
    assert StoryboardOptions().get_profile() is STEPPE
