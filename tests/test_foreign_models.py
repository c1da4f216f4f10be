"""Models that strangers have: what does not fit is told in one line by the preflight, from configurations alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_models import MISFITS, Foreign

from models.bases.configurations import find_misfits


def test_what_fits_is_not_complained_of(tmp_path: Path) -> None:
    foreign = Foreign(tmp_path)
    assert list(find_misfits(foreign.profile, "Euler", guided=True)) == []
    foreign.change("model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline")
    foreign.change("unet/config.json", _name_or_path="somebody/else", time_cond_proj_dim=None)
    assert list(find_misfits(foreign.profile, "DPM++ 2M", guided=True)) == []


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_one_line(tmp_path: Path, name: str) -> None:
    spoil, told = MISFITS[name]
    foreign = Foreign(tmp_path / name)
    spoil(foreign)
    problems = list(find_misfits(foreign.profile, "Euler", guided=True))
    assert len(problems) == 1
    assert told in problems[0]
    assert str(foreign.folder) in problems[0]
    assert "\n" not in problems[0]


def test_a_controlnet_that_is_not_used_is_not_judged(tmp_path: Path) -> None:
    foreign = Foreign(tmp_path)
    foreign.change("controlnet/config.json", cross_attention_dim=768)
    assert list(find_misfits(foreign.profile, "Euler", guided=False)) == []
