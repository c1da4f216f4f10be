"""A checkpoint as one file: read back by our reader and by diffusers, with the strength and the pictures it had."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_loras
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_loras import PARTS, RANK, Tensors, adapter, assert_same, lora_tensors, weights
from tiny_publication import TARGETS, lora_config, save_checkpoint

from models.diffusion.adapter_files import LAYOUT
from models.diffusion.adapters import fuse_adapters
from models.diffusion.loading import quieten
from models.errors import WeightsInvalid
from models.lora.options import TEXT_TARGETS, UNET_TARGETS
from models.lora.publishing.export import KOHYA_PREFIXES, write_diffusers_file, write_folders, write_kohya_file

base, lora, parts = tiny_loras.base, tiny_loras.lora, tiny_loras.parts

ALL_TARGETS = {part: list(UNET_TARGETS if part == "unet" else TEXT_TARGETS.values()) for part in PARTS}
SPELLINGS = (
    (".lora_A.weight", ".lora_B.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    (".lora_down.weight", ".lora_up.weight"),
)
"""Of the two halves of a pair: PEFT's, diffusers' in a UNet and in a text encoder, kohya's."""
SILENT = "lora_te1_text_model_encoder_layers_0_self_attn_out_proj"


def to_diffusers(checkpoint: Path) -> Path:
    file = checkpoint.parent / "pytorch_lora_weights.safetensors"
    write_diffusers_file(checkpoint, file)
    return file


def to_kohya(checkpoint: Path) -> Path:
    file = checkpoint.parent / "aldar.safetensors"
    write_kohya_file(checkpoint, file, {"ss_output_name": "aldar", "modelspec.title": "Алдар"})
    return file


FILES = pytest.mark.parametrize("write", [to_diffusers, to_kohya])
PAINTS = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def checkpoint(lora: Tensors, tmp_path: Path) -> Path:
    return Path(save_checkpoint(tmp_path / "checkpoint-300", lora).path)


def lora_for(base: Any, targets: dict[str, list[str]]) -> Tensors:
    return {part: lora_tensors(getattr(base, part), tuple(targets[part]), seed) for seed, part in enumerate(PARTS)}


@FILES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_our_reader_takes_a_file_as_it_takes_the_folders(
    write: Callable[[Path], Path], dtype: torch.dtype, parts: dict[str, Any], lora: Tensors, tmp_path: Path
) -> None:
    narrow = {part: {name: value.to(dtype) for name, value in own.items()} for part, own in lora.items()}
    folder = Path(save_checkpoint(tmp_path / "checkpoint-300", narrow).path)
    clean, others = weights(parts), copy.deepcopy(parts)
    fuse_adapters([adapter(folder)], parts)
    fuse_adapters([adapter(write(folder))], others)
    assert_same(weights(others), weights(parts), 1e-7 if dtype == torch.float16 else 0.0)  # its smallest numbers
    assert any(not torch.equal(value, clean[name]) for name, value in weights(parts).items())
    assert {value.dtype for name, value in load_file(write(folder)).items() if "alpha" not in name} == {dtype}


@PAINTS
@FILES
def test_diffusers_paints_from_a_file_what_peft_paints_from_the_folders(
    write: Callable[[Path], Path], base: Any, lora: Tensors, checkpoint: Path
) -> None:
    quieten()
    bare, wanted, read = (copy.deepcopy(base) for _ in range(3))
    for part in PARTS:
        put_on(getattr(wanted, part), lora[part], TARGETS[part])
        getattr(read, part).eval()
    read.load_lora_weights(str(write(checkpoint)))
    assert [strengths(getattr(read, part)) for part in PARTS] == [{1.0}] * 3
    assert painted(read) == painted(wanted)
    assert painted(read) != painted(bare)


@PAINTS
@FILES
def test_a_lora_on_all_targets_is_read_back(
    write: Callable[[Path], Path], base: Any, parts: dict[str, Any], tmp_path: Path
) -> None:
    quieten()
    wide = lora_for(base, ALL_TARGETS)
    folder = Path(save_checkpoint(tmp_path / "checkpoint-300", wide, ALL_TARGETS).path)
    others, wanted, read = copy.deepcopy(parts), copy.deepcopy(base), copy.deepcopy(base)
    (changed,) = fuse_adapters([adapter(folder)], parts)
    (again,) = fuse_adapters([adapter(write(folder))], others)
    assert again.modules == changed.modules
    assert_same(weights(others), weights(parts))
    for part in PARTS:
        put_on(getattr(wanted, part), wide[part], ALL_TARGETS[part])
        getattr(read, part).eval()
    read.load_lora_weights(str(write(folder)))
    assert painted(read) == painted(wanted)


def put_on(module: Any, tensors: dict[str, torch.Tensor], targets: list[str]) -> None:
    """The LoRA beside the weights, by PEFT and without any file."""
    from peft import set_peft_model_state_dict

    module.add_adapter(lora_config(targets))
    outcome = set_peft_model_state_dict(module, tensors)
    assert not outcome.unexpected_keys
    module.eval()


def strengths(module: Any) -> set[float]:
    """alpha / rank of every LoRA on the module."""
    return {scale for layer in module.modules() if hasattr(layer, "lora_A") for scale in layer.scaling.values()}


def painted(pipeline: Any) -> bytes:
    """A picture of two steps from fixed noise, every number of it."""
    pipeline.set_progress_bar_config(disable=True)
    pipeline.tokenizer.model_max_length = 77
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    pictures = pipeline("aldar rides a horse", num_inference_steps=2, latents=noise, output_type="np").images
    return bytes(pictures.tobytes())


def test_without_its_silent_pair_diffusers_refuses_a_kohya_file(base: Any, checkpoint: Path) -> None:
    """When this fails, diffusers reads q and v alone, and `_silent_pair` in models/lora/publishing/export.py can go."""
    quieten()
    file = to_kohya(checkpoint)
    tensors = load_file(file)
    silent = {name for name in tensors if "out_proj" in name}
    assert {name.partition(".")[0] for name in silent} == {SILENT, SILENT.replace("te1", "te2")}
    assert not any(tensors[name].any() for name in silent if "lora_" in name.partition(".")[2])
    assert sum(tensors[name].nbytes for name in silent if "alpha" not in name) == 2 * (2 * RANK * 16 * 4)
    save_file({name: value for name, value in tensors.items() if name not in silent}, file)
    with pytest.raises(ValueError, match="Could not automatically infer state dict type"):
        copy.deepcopy(base).load_lora_weights(str(file))


@pytest.mark.parametrize("alpha", [1, 2.5])
def test_a_kohya_file_says_its_rank_as_alpha_and_what_it_is(alpha: float, lora: Tensors, tmp_path: Path) -> None:
    folder = Path(save_checkpoint(tmp_path / "checkpoint-300", lora, lora_alpha=alpha).path)
    file = to_kohya(folder)
    tensors = load_file(file)
    modules = {name.partition(".")[0] for name in tensors}
    assert len(modules) == sum(len(own) // 2 for own in lora.values()) + 2
    assert all(tensors[f"{module}.alpha"].item() == RANK for module in modules)
    assert "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q" in modules
    assert {f"lora_{te}_text_model_encoder_layers_1_self_attn_v_proj" for te in ("te1", "te2")} <= modules
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    content = file.read_bytes()[8 + int.from_bytes(file.read_bytes()[:8], "little") :]
    assert header == {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(RANK),
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_output_name": "aldar",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "Алдар",
        "modelspec.hash_sha256": f"0x{hashlib.sha256(content).hexdigest()}",
    }


def test_the_diffusers_file_says_no_more_than_any_reader_knows(checkpoint: Path) -> None:
    with safe_open(to_diffusers(checkpoint), "pt") as opened:
        begins = {".".join(name.split(".")[:2]) for name in opened.keys() if not name.startswith("unet.")}  # noqa: SIM118
        said = json.loads(opened.metadata()["lora_adapter_metadata"])
    assert begins == {"text_encoder.text_model", "text_encoder_2.text_model"}
    config = {"r": RANK, "lora_alpha": RANK}
    assert {name: sorted(value) if isinstance(value, list) else value for name, value in said.items()} == {
        f"{part}.{key}": value for part in PARTS for key, value in {**config, "target_modules": TARGETS[part]}.items()
    }


def deltas(file: Path) -> dict[str, torch.Tensor]:
    """What a file adds to each module's weight, to a reader that knows its tensors alone: up times down."""
    tensors = load_file(file)
    return {
        name.removesuffix(down): tensors[name.removesuffix(down) + up].double() @ value.double()
        for name, value in tensors.items()
        for down, up in SPELLINGS
        if name.endswith(down)
    }


@pytest.mark.parametrize("alpha", [1, 2.5, 4, 7])
def test_a_reader_of_tensors_alone_sees_the_true_strength(alpha: float, lora: Tensors, tmp_path: Path) -> None:
    folder = Path(save_checkpoint(tmp_path / "checkpoint-300", lora, lora_alpha=alpha).path)
    write_folders(folder, tmp_path / "folders")
    single, kohya = deltas(to_diffusers(folder)), deltas(to_kohya(folder))
    for name, part in LAYOUT.items():
        config = json.loads((tmp_path / "folders" / name / "adapter_config.json").read_text())
        assert (config["r"], config["lora_alpha"]) == (RANK, RANK)
        peft = deltas(tmp_path / "folders" / name / "adapter_model.safetensors")
        own = {key.removesuffix(".lora_A.weight") for key in lora[part] if "lora_A" in key}
        assert len(peft) == len(own)
        for module in own:
            up, down = (lora[part][f"{module}.lora_{half}.weight"].double() for half in "BA")
            named = module if part == "unet" else f"text_model.{module.removeprefix('text_model.')}"
            seen = (
                peft[f"base_model.model.{module}"],
                single[f"{part}.{named}"],
                kohya[f"{KOHYA_PREFIXES[part]}_{named.replace('.', '_')}"],
            )
            for delta in seen:
                torch.testing.assert_close(delta, alpha / RANK * up @ down, rtol=1e-5, atol=1e-7)


@FILES
def test_the_same_checkpoint_gives_the_same_bytes(write: Callable[[Path], Path], checkpoint: Path) -> None:
    assert len({write(checkpoint).read_bytes() for _ in range(4)}) == 1


def test_on_sdxls_own_shape_every_key_finds_its_module(tmp_path: Path) -> None:
    """280 modules of its UNet and 12 + 32 layers of its encoders, by name; the numbers would take 10 GB."""
    from diffusers import StableDiffusionXLPipeline
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    modules = {
        "unet": [name for name, _ in sdxl_unet().named_modules() if name.endswith((".to_q", ".to_v"))],
        "text_encoder": [f"encoder.layers.{layer}.self_attn.q_proj" for layer in range(12)],
        "text_encoder_2": [f"text_model.encoder.layers.{layer}.self_attn.q_proj" for layer in range(32)],
    }
    assert len(modules["unet"]) == 280
    tiny: Tensors = {
        part: {f"{name}.lora_{half}.weight": torch.ones(1, 1) for name in names for half in "AB"}
        for part, names in modules.items()
    }
    file = to_kohya(Path(save_checkpoint(tmp_path / "checkpoint-300", tiny).path))
    state, alphas = StableDiffusionXLPipeline.lora_state_dict(str(file))
    unet = {key.removeprefix("unet."): value for key, value in state.items() if key.startswith("unet.")}
    assert convert_unet_state_dict_to_peft(unet).keys() == tiny["unet"].keys()
    layers = [sum(name.startswith(f"{part}.") for name in state) // 2 for part in PARTS[1:]]
    assert layers == [12 + 1, 32 + 1]
    assert len(alphas) == 280 + sum(layers)


def sdxl_unet() -> Any:
    """SDXL's UNet without its numbers."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(320, 640, 1280),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
            use_linear_projection=True,
        )


@FILES
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_rslora": True}, "use_rslora"),
        ({"alpha_pattern": {"to_q": 1}}, "alpha_pattern"),
        ({"target_modules": []}, "names no target_modules"),
    ],
)
def test_what_the_files_could_not_say_is_refused(
    write: Callable[[Path], Path], changes: dict[str, Any], words: str, checkpoint: Path
) -> None:
    file = checkpoint / "unet_lora" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(WeightsInvalid, match=words):
        write(checkpoint)
    assert not list(checkpoint.parent.glob("*.safetensors"))


@FILES
def test_half_a_pair_is_refused(write: Callable[[Path], Path], checkpoint: Path) -> None:
    file = checkpoint / "unet_lora" / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors.pop(next(name for name in tensors if "lora_B" in name))
    save_file(tensors, file)
    with pytest.raises(WeightsInvalid, match="besides pairs"):
        write(checkpoint)
