"""Checkpoints, VAEs and ControlNets that are one .safetensors file, of the tiny models' kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from foreign_checkpoints import single_file, vae_tensors
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from models.bases.compatibility import Configs
from models.bases.configurations import find_misfits, read_configs
from models.bases.fingerprints import component_fingerprint
from models.bases.single_files import configs_of_base
from models.diffusion.parts import read_controlnet, read_part, tokenizer_folder
from models.diffusion.weights import base_fingerprint
from models.errors import StoryboardError
from models.profiles import SDXL, Profile
from models.sources import Component

tiny_world = tiny_models.tiny_world


def of(profile: Profile, **files: Path) -> Profile:
    """The profile with single files of its own kind."""
    changes: dict[str, Any] = {part: Component(source=str(file), size=0) for part, file in files.items()}
    return profile.model_copy(update={"layout": profile.base.source, **changes})


@pytest.fixture
def checkpoint(tiny_world: Profile, tmp_path: Path) -> Path:
    return single_file(Path(tiny_world.base.source), tmp_path / "mine.safetensors")


def test_a_single_file_gives_every_layer_its_numbers(tiny_world: Profile, checkpoint: Path) -> None:
    mine = of(tiny_world, base=checkpoint)
    assert list(find_misfits(mine, "Euler", guided=True)) == []
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        known = read_part(tiny_world, part, torch.float32, "cpu").state_dict()
        found = read_part(mine, part, torch.float32, "cpu").state_dict()
        assert known.keys() == found.keys()
        assert all(torch.equal(known[name], found[name]) for name in known)
    assert CLIPTokenizer.from_pretrained(tokenizer_folder(mine, "tokenizer")).vocab_size > 0
    assert component_fingerprint(mine.base, checkpoint) == base_fingerprint(mine)


def test_a_vae_by_itself_takes_the_place_of_the_bases_own(tiny_world: Profile, tmp_path: Path) -> None:
    bare = single_file(Path(tiny_world.base.source), tmp_path / "bare.safetensors", vae=False)
    assert "has no vae" in " ".join(find_misfits(of(tiny_world, base=bare), "Euler", guided=False))
    other = {name: 2 * value for name, value in vae_tensors(Path(tiny_world.base.source) / "vae").items()}
    save_file({name: value.contiguous() for name, value in other.items()}, tmp_path / "vae.safetensors")
    mine = of(tiny_world, base=bare, vae=tmp_path / "vae.safetensors")
    assert list(find_misfits(mine, "Euler", guided=False)) == []
    known, found = (read_part(each, "vae", torch.float32, "cpu").state_dict() for each in (tiny_world, mine))
    assert all(torch.equal(2 * known[name], found[name]) for name in known)
    assert base_fingerprint(mine) != base_fingerprint(of(tiny_world, base=bare))


def test_a_controlnet_by_itself(tiny_world: Profile, tmp_path: Path) -> None:
    folder = Path(tiny_world.controlnet.source)
    alone = tmp_path / "canny.safetensors"
    alone.write_bytes((folder / "diffusion_pytorch_model.safetensors").read_bytes())
    mine = of(tiny_world, controlnet=alone)
    assert list(find_misfits(mine, "Euler", guided=True)) == []
    known, found = (read_controlnet(each, torch.float32, "cpu").state_dict() for each in (tiny_world, mine))
    assert all(torch.equal(known[name], found[name]) for name in known)


def layout(profile: Profile) -> Configs:
    return read_configs(profile.base, profile.layout)


def test_marks_of_velocity_are_heeded(tiny_world: Profile, tmp_path: Path) -> None:
    folder = Path(tiny_world.base.source)
    marks: dict[str, Any] = {"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}
    file = single_file(folder, tmp_path / "v.safetensors", **marks)
    scheduler = configs_of_base(file, layout(tiny_world))["scheduler"]
    assert (scheduler["prediction_type"], scheduler["rescale_betas_zero_snr"]) == ("v_prediction", True)
    assert scheduler["timestep_spacing"] == "trailing"
    said = tmp_path / "said.safetensors"
    save_file(load_file(single_file(folder, tmp_path / "plain.safetensors")), said, {"modelspec.prediction_type": "v"})
    assert configs_of_base(said, layout(tiny_world))["scheduler"]["prediction_type"] == "v_prediction"
    edm = single_file(folder, tmp_path / "edm.safetensors", edm_mean=torch.zeros(4))
    assert "EDM's schedule; use it as a diffusers folder" in " ".join(
        find_misfits(of(tiny_world, base=edm), "Euler", guided=False)
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["model.diffusion_model.x"], "holds a UNet without SDXL's conditioning"),
        (["cond_stage_model.transformer.x", "model.diffusion_model.x"], "holds Stable Diffusion 1 or 2"),
        (["conditioner.embedders.0.model.x", "model.diffusion_model.label_emb.0.0.weight"], "holds SDXL's refiner"),
        (["lora_unet_down.lora_up.weight"], "holds a LoRA (use --lora-path)"),
        (["double_blocks.0.img_attn.qkv.weight"], "holds Flux"),
        (["joint_blocks.0.x"], "holds Stable Diffusion 3"),
        (["controlnet_cond_embedding.conv_in.weight"], "holds controlnet"),
        (["something"], "holds no known kind of model (first tensor something)"),
    ],
)
def test_other_files_are_named_by_their_header(tmp_path: Path, names: list[str], told: str) -> None:
    file = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(4) for name in names}, file)
    changed = SDXL.model_copy(update={"base": Component(source=str(file), size=0), "clip": SDXL.clip})
    problems = list(find_misfits(changed, "Euler", guided=False))
    assert told in problems[0]
    assert "\n" not in problems[0]


def test_what_is_missing_or_too_much_in_a_file_is_told(tiny_world: Profile, tmp_path: Path, checkpoint: Path) -> None:
    tensors = load_file(checkpoint)
    unet = [name for name in tensors if name.startswith("model.diffusion_model.middle_block.1.")]
    short = {name: value for name, value in tensors.items() if name != unet[0]}
    save_file(short, tmp_path / "short.safetensors")
    save_file({**tensors, "first_stage_model.extra.weight": torch.zeros(3)}, tmp_path / "long.safetensors")
    for name, part in (("short", "unet"), ("long", "vae")):
        with pytest.raises(StoryboardError, match=f"{name}.safetensors: ") as raised:
            read_part(of(tiny_world, base=tmp_path / f"{name}.safetensors"), part, torch.float32, "cpu")
        assert "\n" not in str(raised.value)


def test_what_ships_for_sdxl_is_whole() -> None:
    configs = read_configs(Component(source=SDXL.layout, size=0), SDXL.layout)
    assert {"index", "unet", "vae", "text_encoder", "text_encoder_2", "scheduler"} <= configs.keys()
    file = Path(SDXL.layout) / "controlnet" / "config.json"
    same = {key: configs["unet"][key] for key in ("block_out_channels", "cross_attention_dim")}
    assert same.items() <= json.loads(file.read_text()).items()
    words, others = (CLIPTokenizer.from_pretrained(Path(SDXL.layout) / name) for name in ("tokenizer", "tokenizer_2"))
    assert words("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert others("a photo of a cat").input_ids == words("a photo of a cat").input_ids
    assert (words.pad_token_id, others.pad_token_id) == (49407, 0)
