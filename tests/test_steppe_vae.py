"""The steppe VAE trained further: its decoder alone, so that all that was trained on its latents stays right."""

from __future__ import annotations

import shutil
from multiprocessing import dummy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from models.profiles import ROOT
from steppe import dataset, material, stages
from steppe.loops import Recipe
from steppe.shapes import SHAPES

SHIPPED = ROOT / "weights" / "steppe" / "vae"


def test_only_the_decoder_learns_and_stored_latents_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(material.RECIPES, "vae_whole", Recipe(steps=2, batch=2, rate=1e-3))
    monkeypatch.setattr(dataset, "multiprocessing", SimpleNamespace(get_context=lambda _method: dummy))
    setup = material.Setup(work=tmp_path / "work", out=tmp_path / "weights", device="cpu", further=True)
    shutil.copytree(SHIPPED, setup.out / "vae")
    kept = []
    for shape in SHAPES:
        dataset.draw_set(setup.folder(shape), 2, shape)
        kept.append(setup.folder(shape) / material.LATENTS)
        kept[-1].touch()
    assert stages.run_vae_whole(setup) == 2
    name = "diffusion_pytorch_model.safetensors"
    before, after = load_file(SHIPPED / name), load_file(setup.out / "vae" / name)
    changed = {part.split(".")[0] for part, value in after.items() if not torch.equal(before[part], value)}
    assert "decoder" in changed <= {"decoder", "post_quant_conv"}
    assert (setup.out / "vae" / "config.json").read_bytes() == (SHIPPED / "config.json").read_bytes()
    assert all(file.is_file() for file in kept)
