"""LoRAs as other programs write them: the same weights, other weights by the kind's own rule, or a refusal by name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_loras
import numpy as np
import pytest
import tiny_loras
import torch
from foreign_loras import draw, flat_name, kohya, save, stability
from tiny_loras import ALPHA, PARTS, RANK, Tensors, adapter, as_checkpoint, assert_same, expected_weights, weights
from tiny_models import request, setup

from models.diffusion.adapter_files import read_folder
from models.diffusion.adapters import fuse_adapters
from models.diffusion.loading import load, unload
from models.diffusion.painter import paint
from models.profiles import ROOT

base, lora, parts = tiny_loras.base, tiny_loras.lora, tiny_loras.parts
Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "down_blocks.0.resnets.0.conv1"


@pytest.mark.parametrize("layout", foreign_loras.SAME, ids=lambda layout: layout.__name__)
def test_every_layout_comes_to_the_same_weights(
    layout: Callable[[Path, Tensors], Path], parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    wanted = expected_weights(parts, lora, ALPHA / RANK)
    (use,) = fuse_adapters([adapter(layout(tmp_path / "x", lora))], parts)
    assert_same(weights(parts), wanted, 1e-5)
    for part in PARTS:
        changed, there = use.modules[part]
        assert changed == len(lora[part]) // 2 < there


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_numbers_of_few_bits_are_read_as_they_are(
    kind: torch.dtype, parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    rounded = {part: {key: value.to(kind).float() for key, value in own.items()} for part, own in lora.items()}
    wanted = expected_weights(parts, rounded, ALPHA / RANK)
    tensors = kohya(tmp_path / "x", lora)
    file = save(tmp_path, {key: value if key.endswith("alpha") else value.to(kind) for key, value in tensors.items()})
    fuse_adapters([adapter(file)], parts)
    assert_same(weights(parts), wanted, 1e-5)


def test_what_a_file_changed_is_counted_and_logged(
    parts: dict[str, Any], lora: Tensors, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = foreign_loras.embeddings_beside(tmp_path, {"unet": lora["unet"]})
    with caplog.at_level(logging.INFO, "models.diffusion"):
        (use,) = fuse_adapters([adapter(file)], parts)
    assert use.unused == ("aldar",)
    assert "strength 1: changed 16 of " in caplog.text
    assert "in unet, 0 of " in caplog.text
    assert "its embeddings (aldar) are not used" in caplog.text


@pytest.mark.parametrize("spelling", [str, stability])
def test_a_lora_of_all_layers_reaches_convolutions_and_embeddings(
    spelling: Callable[[str], str], parts: dict[str, Any], tmp_path: Path
) -> None:
    wanted, tensors = weights(parts), dict[str, torch.Tensor]()
    for module, (down, up) in foreign_loras.wide_lora(parts["unet"]).items():
        stem = flat_name(spelling(module))
        tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(1.0)}
        change = 0.5 * up.flatten(1) @ down.flatten(1)
        wanted[f"unet.{module}.weight"] += change.view_as(wanted[f"unet.{module}.weight"])
    (use,) = fuse_adapters([adapter(save(tmp_path, tensors))], parts)
    assert_same(weights(parts), wanted, 1e-5)
    assert use.modules["unet"][0] == len(tensors) // 3


def through(core: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """sum over i, j of core[i, j] * first[i, output] * second[j, input], one product after the other."""
    outputs = torch.tensordot(first.T, core, 1)
    product: torch.Tensor = torch.tensordot(second.T, outputs, ([1], [1])).transpose(0, 1)
    return product


def other_kinds() -> dict[str, tuple[str, dict[str, torch.Tensor], torch.Tensor]]:
    """Kind -> module, its tensors, and the difference that they say by LyCORIS's rules."""
    a, b, c, d = draw(16, 2), draw(2, 16), draw(16, 2) + 1, draw(2, 16) - 1
    core, rows, columns = draw(2, 3, 3, 3), draw(8, 2), draw(3, 8)
    small, large = draw(4, 2), draw(4, 8)
    return {
        "LoHa": (
            Q,
            {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d, "alpha": torch.tensor(1.0)},
            0.5 * (a @ b) * (c @ d),
        ),
        "LoKr": (
            Q,
            {"lokr_w1": small, "lokr_w2": large, "alpha": torch.tensor(7.0)},
            torch.einsum("ab,cd->acbd", small, large).reshape(16, 16),
        ),
        "LoKr of factors": (
            Q,
            {"lokr_w1": small, "lokr_w2_a": draw(4, 3), "lokr_w2_b": draw(3, 8), "alpha": torch.tensor(6.0)},
            2 * torch.einsum("ab,cd->acbd", small, draw(4, 3) @ draw(3, 8)).reshape(16, 16),
        ),
        "LoCon through a core": (
            CONV,
            {
                "lora_up.weight": rows.reshape(8, 2, 1, 1),
                "lora_mid.weight": core,
                "lora_down.weight": columns.reshape(3, 8, 1, 1),
                "alpha": torch.tensor(6.0),
            },
            2 * through(core, rows.T, columns),
        ),
        "whole difference": (CONV, {"diff": draw(8, 8, 3, 3)}, draw(8, 8, 3, 3)),
    }


@pytest.mark.parametrize("kind", other_kinds())
def test_kinds_of_lycoris_are_differences_by_their_own_rule(kind: str, parts: dict[str, Any], tmp_path: Path) -> None:
    module, tensors, difference = other_kinds()[kind]
    wanted = weights(parts)
    wanted[f"unet.{module}.weight"] += difference
    file = save(tmp_path, {f"{flat_name(module)}.{role}": value for role, value in tensors.items()})
    fuse_adapters([adapter(file)], parts)
    assert_same(weights(parts), wanted, 1e-5)


def test_differences_of_norms_and_biases_are_added(parts: dict[str, Any], tmp_path: Path) -> None:
    norm = "down_blocks.0.resnets.0.norm1"
    tensors = {f"{flat_name(norm)}.w_norm": draw(8), f"{flat_name(norm)}.b_norm": draw(8)}
    tensors[f"{flat_name(CONV)}.diff_b"] = draw(8)
    wanted = weights(parts)
    for key in (f"{norm}.weight", f"{norm}.bias", f"{CONV}.bias"):
        wanted[f"unet.{key}"] += draw(8)
    fuse_adapters([adapter(save(tmp_path, tensors))], parts)
    assert_same(weights(parts), wanted, 1e-6)


@pytest.mark.parametrize("convolution", [False, True])
def test_a_dora_is_what_peft_merges(convolution: bool, base: Any, parts: dict[str, Any], tmp_path: Path) -> None:
    """PEFT trains nothing here: its own layers, with numbers put in, are merged by its own code."""
    import copy

    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

    module = CONV if convolution else Q
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=[module], use_dora=True, init_lora_weights=False)
    model = get_peft_model(copy.deepcopy(base.unet), config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_magnitude_vector" in name:
                value.mul_(1.5)
    folder = tmp_path / "unet"
    model.save_pretrained(folder)
    assert any("magnitude" in key for key in get_peft_model_state_dict(model))
    (use,) = fuse_adapters([adapter(folder)], parts)
    wanted = model.merge_and_unload().get_submodule(module).weight
    assert torch.allclose(parts["unet"].get_submodule(module).weight, wanted, atol=1e-4)
    assert use.modules["unet"][0] == 1


@pytest.mark.parametrize("of_inputs", [True, False])
def test_the_lengths_of_a_dora_may_be_of_inputs_or_outputs(
    of_inputs: bool, parts: dict[str, Any], tmp_path: Path
) -> None:
    stem, up, down = flat_name(CONV), draw(8, 2, 1, 1), draw(2, 8, 3, 3)
    lengths = draw(1, 8, 1, 1) if of_inputs else draw(8, 1, 1, 1)
    clean = weights(parts)[f"unet.{CONV}.weight"]
    changed = clean + (up.flatten(1) @ down.flatten(1)).view_as(clean)
    summed = (changed**2).sum(dim=(0, 2, 3) if of_inputs else (1, 2, 3), keepdim=True)
    tensors = {f"{stem}.lora_up.weight": up, f"{stem}.lora_down.weight": down, f"{stem}.dora_scale": lengths}
    fuse_adapters([adapter(save(tmp_path, tensors))], parts)
    assert torch.allclose(parts["unet"].get_submodule(CONV).weight, changed * lengths / summed.sqrt(), atol=1e-5)


def test_a_lora_that_was_not_trained_is_told(
    parts: dict[str, Any], lora: Tensors, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blank = {part: {k: v * 0 if "lora_B" in k else v for k, v in own.items()} for part, own in lora.items()}
    fuse_adapters([adapter(as_checkpoint(tmp_path, blank))], parts)
    assert "changes nothing: all its differences are zero" in caplog.text


def test_several_loras_add_up_each_at_its_strength(parts: dict[str, Any], lora: Tensors, tmp_path: Path) -> None:
    text = {part: own for part, own in lora.items() if part != "unet"}
    wanted = expected_weights(parts, lora, 0.5 * ALPHA / RANK)
    for key, value in expected_weights(parts, text, -2 * ALPHA / RANK).items():
        wanted[key] += value - weights(parts)[key]
    first = adapter(as_checkpoint(tmp_path / "a", lora)).model_copy(update={"strength": 0.5})
    second = adapter(save(tmp_path, kohya(tmp_path / "x", text))).model_copy(update={"strength": -2.0})
    one, two = fuse_adapters([first, second], parts)
    assert_same(weights(parts), wanted, 1e-5)
    assert (one.strength, two.strength) == (0.5, -2.0)
    assert two.modules["unet"][0] == 0


def test_a_folder_of_peft_for_the_unet_alone_keeps_its_alpha(
    parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    wanted = expected_weights(parts, {"unet": lora["unet"]}, ALPHA / RANK)
    folder = as_checkpoint(tmp_path, lora) / "unet_lora"
    fuse_adapters([adapter(folder)], parts)
    assert_same(weights(parts), wanted, 1e-6)


def test_the_lora_that_ships_paints_one_picture_in_two_layouts(tmp_path: Path) -> None:
    """The small model's own trained weights, in three steps: as published, and as a kohya file without a config."""
    shipped = ROOT / "weights" / "steppe" / "aldar"
    read = {part: dict(file.tensors) for part, file in read_folder(shipped).items()}
    kohya_file = tiny_loras.save_kohya(tmp_path / "kohya.safetensors", read, alpha=32)

    def picture(path: Path | None) -> np.ndarray:
        models = load(setup(profile="steppe", adapter=None if path is None else adapter(path)))
        asked = request(prompt="aldar_kose_man rides a horse in the steppe", size=256, guidance=2.5)
        return np.asarray(paint(models, [asked])[0].image, dtype=np.int16)

    try:
        first, second, bare = picture(shipped), picture(kohya_file), picture(None)
    finally:
        unload()
    assert np.abs(first - second).max() <= 2
    assert np.abs(first - bare).max() > 20
