"""A run compares the models on its machine with the painters': by stamps, and by reading only where these differ."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import tiny_models
from tiny_models import setup

from models.bases.fingerprints import component_fingerprint, stamp_of
from models.diffusion.requests import PainterSetup
from models.errors import WeightsInvalid
from models.painters import ray_painter
from models.painters.painter import Loaded
from models.painters.parcels import local_components
from models.profiles import Profile
from models.records import Weights

tiny_world = tiny_models.tiny_world


def told_by_painters(there: PainterSetup) -> tuple[Loaded, dict[str, str]]:
    """What painters with these files tell of them."""
    parts = local_components(there)
    known = {name: component_fingerprint(part, Path(part.source)) for name, part in parts.items()}
    weights = Weights(base=known["base"], controlnet=None, clip=known["clip"], adapter=None)
    return Loaded(weights=weights, loras=(), encoder=known["clip"]), {
        name: stamp_of(Path(part.source)) for name, part in parts.items()
    }


def with_own_clip(folder: Path) -> PainterSetup:
    """A setup whose CLIP is a copy."""
    there = setup()
    shutil.copytree(there.profile.clip.source, folder)
    clip = there.profile.clip.model_copy(update={"source": str(folder)})
    return there.model_copy(update={"profile": there.profile.model_copy(update={"clip": clip})})


def test_the_same_files_are_not_read(tiny_world: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    told = told_by_painters(setup())
    monkeypatch.setattr(ray_painter, "component_fingerprint", lambda *_: pytest.fail("they were read"))
    ray_painter._refuse_other_files(setup(), *told)


def test_a_copy_is_read_and_accepted_and_other_files_are_refused(tiny_world: Profile, tmp_path: Path) -> None:
    here, told = with_own_clip(tmp_path / "clip"), told_by_painters(setup())
    ray_painter._refuse_other_files(here, *told)
    [weights] = (tmp_path / "clip").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    refused = re.escape(f"{tmp_path / 'clip'}: the painters' clip holds other files than this machine's; give both")
    with pytest.raises(WeightsInvalid, match=refused):
        ray_painter._refuse_other_files(here, *told)
