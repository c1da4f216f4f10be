"""LoRAs that do not fit, are broken or unsafe: refused by name in one line, the base left as it was."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_loras
import torch
from safetensors.torch import load_file, save_file
from tiny_loras import (
    ALPHA,
    LAYOUTS,
    RANK,
    Tensors,
    adapter,
    as_checkpoint,
    as_kohya,
    assert_same,
    expected_weights,
    weights,
)

from models.diffusion.adapters import fuse_adapters
from models.errors import AdapterMismatch, WeightsInvalid

base, lora, parts = tiny_loras.base, tiny_loras.lora, tiny_loras.parts


def assert_refused(error: type[Exception], message: str, path: Path, parts: dict[str, Any]) -> None:
    clean = weights(parts)
    with pytest.raises(error, match=message) as raised:
        fuse_adapters([adapter(path)], parts)
    assert "\n" not in str(raised.value)
    assert_same(weights(parts), clean)


@LAYOUTS
def test_a_lora_of_other_widths_leaves_the_base_clean(
    save: Callable[[Path, Tensors], Path], parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    wider = {**lora, "text_encoder_2": {key: torch.cat([v, v], -1) for key, v in lora["text_encoder_2"].items()}}
    message = r"self_attn.q_proj' has down \[4, 32\] and up \[16, 8\], this base's weight is \[16, 16\]"
    assert_refused(AdapterMismatch, message, save(tmp_path, wider), parts)


@LAYOUTS
def test_a_key_without_a_module_is_refused_by_name(
    save: Callable[[Path, Tensors], Path], parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    deeper = {key.replace("layers.0", "layers.9"): value for key, value in lora["text_encoder"].items()}
    message = "encoder.layers.9.self_attn.q_proj' is not a module of this base's .*text_encoder"
    assert_refused(AdapterMismatch, message, save(tmp_path, {**lora, "text_encoder": deeper}), parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mid_block.odd.weight": torch.zeros(2, 2)}, "'mid_block.odd.weight' is a whole weight, not a LoRA weight"),
        ({"conv_in.lora_A.weight": torch.zeros(4, 8)}, "'conv_in.lora_A.weight': it has no partner"),
    ],
)
def test_keys_that_are_no_lora_are_refused(
    changes: dict[str, torch.Tensor], message: str, parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    folder = as_checkpoint(tmp_path, {**lora, "unet": {**lora["unet"], **changes}})
    assert_refused(AdapterMismatch, message, folder, parts)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"r": 8}, AdapterMismatch, "has rank 4, its config says 8"),
        ({"use_dora": True}, AdapterMismatch, "use_dora, and the lengths of a DoRA are not in the file"),
        ({"peft_type": "LOHA"}, AdapterMismatch, "LOHA"),
        ({"lora_alpha": None}, WeightsInvalid, "says no lora_alpha"),
    ],
)
def test_a_config_that_is_not_honoured_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str, parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    folder = as_checkpoint(tmp_path, lora)
    file = folder / "unet_lora" / "adapter_config.json"
    config = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    assert_refused(error, message, folder, parts)


class _Bomb:
    """A pickle that writes a file when it is opened."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.target, "ran"))


@pytest.mark.parametrize("bare", [False, True])
def test_a_pickle_with_code_is_refused_and_does_not_run(
    bare: bool, parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    folder, proof = as_checkpoint(tmp_path, lora), tmp_path / "proof"
    (folder / "unet_lora" / "adapter_model.safetensors").unlink()
    file = folder / "unet_lora" / "adapter_model.bin"
    if bare:
        file.write_bytes(pickle.dumps({"x": _Bomb(proof)}, protocol=2))
    else:
        torch.save({"x": _Bomb(proof)}, file)
    assert_refused(WeightsInvalid, r"adapter_model\.bin: holds more than tensors", folder, parts)
    assert not proof.exists()


def test_a_pickle_of_tensors_is_read(parts: dict[str, Any], lora: Tensors, tmp_path: Path) -> None:
    folder = as_checkpoint(tmp_path, lora)
    safe = folder / "unet_lora" / "adapter_model.safetensors"
    torch.save(load_file(safe), safe.with_suffix(".bin"))
    safe.unlink()
    wanted = expected_weights(parts, lora, ALPHA / RANK)
    fuse_adapters([adapter(folder)], parts)
    assert_same(weights(parts), wanted, 1e-6)


def truncated(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[:-50])
    return file


def test_files_that_are_broken_are_refused_by_name(parts: dict[str, Any], lora: Tensors, tmp_path: Path) -> None:
    assert_refused(WeightsInvalid, r"kohya\.safetensors: truncated", truncated(as_kohya(tmp_path, lora)), parts)
    folder = as_checkpoint(tmp_path, lora)
    truncated(folder / "text_encoder_two_lora" / "adapter_model.safetensors")
    assert_refused(WeightsInvalid, r"two_lora.adapter_model\.safetensors: truncated", folder, parts)
    (folder / "unet_lora" / "adapter_model.safetensors").unlink()
    assert_refused(WeightsInvalid, r"unet_lora.adapter_model\.safetensors: missing", folder, parts)
    (folder / "unet_lora" / "adapter_config.json").unlink()
    assert_refused(WeightsInvalid, r"adapter_config\.json: missing", folder, parts)
    (folder / "unet_lora").rmdir()
    assert_refused(WeightsInvalid, "unet_lora: missing", folder, parts)
    assert_refused(WeightsInvalid, "nowhere: no such file or folder", tmp_path / "nowhere", parts)
    (tmp_path / "empty").mkdir()
    assert_refused(WeightsInvalid, "found 0 safetensors files", tmp_path / "empty", parts)


def test_numbers_that_are_not_finite_are_refused(parts: dict[str, Any], lora: Tensors, tmp_path: Path) -> None:
    spoilt = {key: value * float("nan") for key, value in lora["unet"].items()}
    assert_refused(WeightsInvalid, "not finite", as_checkpoint(tmp_path, {**lora, "unet": spoilt}), parts)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"transformer.blocks.0.lora_A.weight": torch.zeros(4, 8)}, "Flux or SD 3, to no part of SDXL"),
        ({"lora_unet_nothing.lora_down.weight": torch.zeros(4, 8)}, "'lora_unet_nothing' is not a module"),
        ({"unet.conv_in.lora_magnitude_vector": torch.zeros(8)}, "it has no partner"),
    ],
)
def test_single_files_of_other_kinds_are_refused(
    tensors: dict[str, torch.Tensor], message: str, parts: dict[str, Any], tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "other.safetensors")
    assert_refused(AdapterMismatch, message, tmp_path / "other.safetensors", parts)
