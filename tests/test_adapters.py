"""LoRAs of every layout on a tiny SDXL: their strength, and where their keys land."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_loras
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from tiny_loras import (
    ALPHA,
    LAYOUTS,
    PARTS,
    RANK,
    Tensors,
    adapter,
    as_checkpoint,
    as_diffusers,
    as_kohya,
    assert_same,
    expected_weights,
    weights,
)
from tiny_models import request, setup

from models import profiles
from models.diffusion.adapters import fuse_adapters
from models.diffusion.loading import load, unload
from models.diffusion.painter import paint

tiny_world = tiny_models.tiny_world
base, lora, parts = tiny_loras.base, tiny_loras.lora, tiny_loras.parts


@LAYOUTS
def test_a_lora_acts_at_alpha_over_rank(
    save: Callable[[Path, Tensors], Path], parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    wanted = expected_weights(parts, lora, ALPHA / RANK)
    changed = fuse_adapters([adapter(save(tmp_path, lora))], parts)
    assert_same(weights(parts), wanted, 1e-6)
    (use,) = changed
    assert {part: changed for part, (changed, _) in use.modules.items()} == {
        part: len(lora[part]) // 2 for part in PARTS
    }


@LAYOUTS
def test_fused_paints_as_unfused(
    save: Callable[[Path, Tensors], Path],
    tiny_world: profiles.Profile,
    lora: Tensors,
    tmp_path: Path,
) -> None:
    """PEFT's own layers, beside the weights instead of in them, say the same up to rounding."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    path = save(tmp_path, lora)
    fused = load(setup(adapter=adapter(path))).plain
    unfused = load(setup()).plain
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["to_q", "to_v", "q_proj", "v_proj"])
    for part in PARTS:
        module = inject_adapter_in_model(config, getattr(unfused, part))
        assert not set_peft_model_state_dict(module, lora[part]).unexpected_keys
    try:
        assert torch.allclose(predicted_noise(fused), predicted_noise(unfused), atol=1e-4)
    finally:
        unload()


def predicted_noise(pipeline: Any) -> torch.Tensor:
    """What the UNet says to fixed latents and a prompt, through both text encoders."""
    sample = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        words, _, pooled, _ = pipeline.encode_prompt("aldar rides a horse", do_classifier_free_guidance=False)
        added = {"text_embeds": pooled, "time_ids": torch.zeros(1, 6)}
        noise: torch.Tensor = pipeline.unet(sample, 500, words, added_cond_kwargs=added).sample
    return noise


def test_switching_adapters_brings_the_base_back(tiny_world: profiles.Profile, lora: Tensors, tmp_path: Path) -> None:
    def picture(path: Path | None) -> bytes:
        models = load(setup(adapter=adapter(path) if path else None))
        return paint(models, [request()])[0].image.tobytes()

    path = as_checkpoint(tmp_path, lora)
    bare, with_lora = picture(None), picture(path)
    assert bare != with_lora
    assert picture(None) == bare
    assert picture(path) == with_lora


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_text_encoder_keys_land_with_and_without_text_model(
    prefix: str, parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    renamed = {
        part: {
            (prefix if part != "unet" else "") + key.removeprefix("text_model."): value for key, value in own.items()
        }
        for part, own in lora.items()
    }
    wanted = expected_weights(parts, lora, ALPHA / RANK)
    fuse_adapters([adapter(tiny_loras.save_checkpoint(tmp_path, renamed))], parts)
    assert_same(weights(parts), wanted, 1e-6)


def test_alpha_may_differ_by_module_in_a_kohya_file(parts: dict[str, Any], lora: Tensors, tmp_path: Path) -> None:
    file = as_kohya(tmp_path, lora)
    tensors = load_file(file)
    name = "encoder.layers.0.self_attn.q_proj"
    tensors[f"lora_te1_text_model_{name.replace('.', '_')}.alpha"] = torch.tensor(4.0 * RANK)
    save_file(tensors, file)
    wanted = expected_weights(parts, lora, ALPHA / RANK)
    own = lora["text_encoder"]
    more = (4 - ALPHA / RANK) * own[f"{name}.lora_B.weight"] @ own[f"{name}.lora_A.weight"]
    wanted[f"text_encoder.{name}.weight"] += more
    fuse_adapters([adapter(file)], parts)
    assert_same(weights(parts), wanted, 1e-5)


def test_a_kohya_file_may_train_more_than_attention(base: Any, parts: dict[str, Any], tmp_path: Path) -> None:
    text = ("q_proj", "out_proj", "fc1")
    wide = {
        "unet": tiny_loras.lora_tensors(base.unet, ("to_q", "to_out.0", "proj_in", "ff.net.0.proj")),
        "text_encoder": tiny_loras.lora_tensors(base.text_encoder, text, seed=2),
        "text_encoder_2": tiny_loras.lora_tensors(base.text_encoder_2, text, seed=3),
    }
    wanted = expected_weights(parts, wide, ALPHA / RANK)
    fuse_adapters([adapter(as_kohya(tmp_path, wide))], parts)
    assert_same(weights(parts), wanted, 1e-6)


def test_patterns_and_rank_stabilised_scale_are_honoured(parts: dict[str, Any], lora: Tensors, tmp_path: Path) -> None:
    folder = as_checkpoint(tmp_path, {"unet": lora["unet"]})
    file = folder / "unet_lora" / "adapter_config.json"
    file.write_text(json.dumps({"r": RANK, "lora_alpha": 6, "use_rslora": True, "alpha_pattern": {"to_q": 2}}))
    clean = weights(parts)
    fuse_adapters([adapter(folder)], parts)
    for key, down in lora["unet"].items():
        if key.endswith("lora_A.weight"):
            name = key.removesuffix(".lora_A.weight")
            alpha = 2 if name.endswith("to_q") else 6
            change = alpha / RANK**0.5 * lora["unet"][f"{name}.lora_B.weight"] @ down
            assert torch.allclose(
                parts["unet"].get_submodule(name).weight, clean[f"unet.{name}.weight"] + change, atol=1e-5
            )


@pytest.mark.parametrize("layout", ["kohya", "diffusers"])
def test_a_file_without_alpha_is_used_at_its_rank_and_says_so(
    layout: str, parts: dict[str, Any], lora: Tensors, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if layout == "kohya":
        file = tiny_loras.save_kohya(tmp_path / "x.safetensors", lora, alpha=None)
    else:
        file = tiny_loras.save_diffusers(tmp_path / "x.safetensors", lora, metadata=False)
    wanted = expected_weights(parts, lora, 1.0)
    with caplog.at_level(logging.WARNING, "models.diffusion"):
        fuse_adapters([adapter(file)], parts)
    assert_same(weights(parts), wanted, 1e-6)
    warnings = [record.message for record in caplog.records if record.name == "models.diffusion"]
    assert len(warnings) == 1
    assert "alpha = rank" in warnings[0]


def test_a_folder_with_one_file_and_a_checkpoint_of_the_unet_alone_are_read(
    parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    as_diffusers(tmp_path, lora)
    (whole,) = fuse_adapters([adapter(tmp_path)], parts)
    assert all(changed for changed, _ in whole.modules.values())
    (alone,) = fuse_adapters([adapter(as_checkpoint(tmp_path / "c", {"unet": lora["unet"]}))], parts)
    assert [part for part, (changed, _) in alone.modules.items() if changed] == ["unet"]


def test_what_diffusers_itself_saves_is_read(base: Any, parts: dict[str, Any], lora: Tensors, tmp_path: Path) -> None:
    from diffusers import StableDiffusionXLPipeline
    from diffusers.training_utils import _collate_lora_metadata
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict

    trained = copy.deepcopy({part: getattr(base, part) for part in PARTS})
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["to_q", "to_v", "q_proj", "v_proj"])
    for part, module in trained.items():
        inject_adapter_in_model(config, module)
        set_peft_model_state_dict(module, lora[part])
        module.peft_config = {"default": config}
    saved = {part: convert_state_dict_to_diffusers(get_peft_model_state_dict(trained[part])) for part in PARTS}
    StableDiffusionXLPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=saved["unet"],
        text_encoder_lora_layers=saved["text_encoder"],
        text_encoder_2_lora_layers=saved["text_encoder_2"],
        **_collate_lora_metadata(trained),
    )
    wanted = expected_weights(parts, lora, ALPHA / RANK)
    fuse_adapters([adapter(tmp_path / "pytorch_lora_weights.safetensors")], parts)
    assert_same(weights(parts), wanted, 1e-6)
