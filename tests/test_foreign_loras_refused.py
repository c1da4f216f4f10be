"""LoRAs of other programs that would not act as they say: refused by name in one line, the base left as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_loras
import pytest
import tiny_loras
import torch
from foreign_loras import draw, kohya, save
from tiny_loras import ALPHA, RANK, Tensors, adapter, as_checkpoint, assert_same, expected_weights, weights

from models.diffusion.adapters import fuse_adapters
from models.errors import AdapterMismatch, ModelError, WeightsInvalid

base, lora, parts = tiny_loras.base, tiny_loras.lora, tiny_loras.parts


def assert_refused(error: type[ModelError], message: str, path: Path, parts: dict[str, Any]) -> None:
    clean = weights(parts)
    with pytest.raises(error, match=message) as raised:
        fuse_adapters([adapter(path)], parts)
    assert "\n" not in str(raised.value)
    assert_same(weights(parts), clean)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa' has changed the base"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights 'pissa_niter_4' has changed the base"),
        ({"init_lora_weights": "olora"}, "init_lora_weights 'olora' has changed the base"),
        ({"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}, "init_lora_weights 'loftq'"),
        ({"init_lora_weights": "not-invented-yet"}, "init_lora_weights 'not-invented-yet'"),
        ({"bias": "lora_only"}, "its config says bias 'lora_only'"),
        ({"fan_in_fan_out": True}, "its config says fan_in_fan_out True"),
        ({"modules_to_save": ["conv_out"]}, r"its config says modules_to_save \['conv_out'\]"),
        ({"layer_replication": [[0, 4]]}, "its config says layer_replication"),
        ({"use_something_new": True}, "its config says use_something_new True"),
        ({"lora_alpha": float("inf")}, "alpha lora_alpha must be a finite number other than 0, got inf"),
        ({"r": 0}, "rank r must be 1 or more, got 0"),
        ({"alpha_pattern": {"to_q": "2"}}, "alpha to_q must be a finite number other than 0, got '2'"),
        ({"rank_pattern": [4]}, r"rank_pattern must be an object, got \[4\]"),
    ],
)
def test_what_a_config_says_is_honoured_or_refused_by_name(
    said: dict[str, Any], message: str, parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    assert_refused(ModelError, message, foreign_loras.peft(tmp_path, lora, **said), parts)


def test_what_a_config_says_of_the_training_or_leaves_off_is_no_matter(
    parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    said = {"init_lora_weights": "gaussian", "lora_dropout": 0.3, "use_something_new": None, "megatron_core": "x"}
    wanted = expected_weights(parts, lora, ALPHA / RANK)
    fuse_adapters([adapter(foreign_loras.peft(tmp_path, lora, **said))], parts)
    assert_same(weights(parts), wanted, 1e-6)


def rank_zero(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    down = next(key for key in tensors if key.endswith("lora_down.weight"))
    up = down.replace("lora_down", "lora_up")
    return tensors | {down: tensors[down][:0], up: tensors[up][:, :0]}


def with_alpha(alpha: Any) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda tensors: {key: torch.tensor(alpha) if key.endswith("to_q.alpha") else v for key, v in tensors.items()}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (rank_zero, "it has rank 0 and holds no numbers"),
        (with_alpha(float("nan")), "to_q.alpha' is nan"),
        (with_alpha(float("inf")), "to_q.alpha' is inf"),
        (with_alpha(0.0), "to_q.alpha' is 0.0"),
        (with_alpha([1.0, 2.0]), r"its alpha has shape \[2\], where one number must be"),
        (lambda tensors: {key: value * 1e30 for key, value in tensors.items()}, "not finite|beyond float32"),
        (
            lambda tensors: {
                k: (v.clone().fill_(float("nan")).to(torch.float8_e5m2) if v.dim() else v) for k, v in tensors.items()
            },
            "holds numbers that are not finite",
        ),
        (lambda tensors: {k: v.to(torch.int8) if v.dim() else v for k, v in tensors.items()}, "holds I8, no fractions"),
    ],
)
def test_numbers_that_no_lora_has_are_one_line(
    spoil: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    message: str,
    parts: dict[str, Any],
    lora: Tensors,
    tmp_path: Path,
) -> None:
    assert_refused(ModelError, message, save(tmp_path, spoil(kohya(tmp_path / "x", lora))), parts)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("lora_unet_conv_in.oft_blocks", "'lora_unet_conv_in.oft_blocks' is OFT"),
        ("lora_unet_conv_in.on_input", "which scales activations"),
        ("lora_unet_conv_in.a1.weight", "is GLoRA"),
        ("lora_te3_x.lora_down.weight", "belongs to the third text encoder of SD 3"),
        ("lora_te_text_model_x.lora_down.weight", "belongs to the text encoder of SD 1 and 2"),
        ("clip_l", "is a textual inversion, not a LoRA"),
        ("model.diffusion_model.out.0.weight", "a weight of a whole checkpoint, not a LoRA weight"),
        ("scaled_fp8", "'scaled_fp8' is not a LoRA weight that can be read here"),
        ("unet.conv_in.lora_A.weight", "lora_unet_conv_in.lora_down.weight' say the same about one module"),
        ("unet.conv_out.lora_B.weight", "it has no partner"),
    ],
)
def test_a_key_that_would_not_act_is_refused_by_name(
    key: str, message: str, parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    one = {"lora_unet_conv_in.lora_down.weight": draw(2, 4, 3, 3), "lora_unet_conv_in.lora_up.weight": draw(8, 2, 1, 1)}
    assert_refused(AdapterMismatch, message, save(tmp_path, one | {key: draw(2, 4, 3, 3)}), parts)


def test_numbers_beyond_the_base_own_format_leave_it_clean(
    parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    halves = {part: module.half() for part, module in parts.items()}
    loud = {part: {key: value * 2000 for key, value in own.items()} for part, own in lora.items()}
    assert_refused(WeightsInvalid, "beyond float16; use less strength", as_checkpoint(tmp_path, loud), halves)


def test_a_peft_folder_of_a_text_encoder_alone_is_refused(parts: dict[str, Any], lora: Tensors, tmp_path: Path) -> None:
    """Both encoders name their modules alike, so such a folder does not say which of them it is for."""
    folder = as_checkpoint(tmp_path, lora) / "text_encoder_one_lora"
    assert_refused(AdapterMismatch, "is not a module of this base's unet", folder, parts)
