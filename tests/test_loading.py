"""Loading: once, shared, and refused in one line that names the file. A tiny random SDXL of the real classes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from tiny_models import setup

from models import profiles
from models.diffusion import loading
from models.diffusion.loading import Models, load, unload
from models.errors import ConnectionFailed, InputError, OutOfMemory, WeightsInvalid
from models.sources import Component

tiny_world = tiny_models.tiny_world


@pytest.fixture
def broken(tiny_world: profiles.Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny world to break, as the profile "broken"."""
    folder = tmp_path / "world"
    shutil.copytree(tiny_world.base.source, folder)
    monkeypatch.setitem(profiles.PROFILES, "broken", tiny_models.profile(folder, "broken"))
    return folder


def test_two_racing_threads_load_once(tiny_world: profiles.Profile) -> None:
    unload()
    reports: list[str] = []
    start = threading.Barrier(2)

    def race(_: int) -> Models:
        start.wait()
        return load(setup(), lambda what, share: reports.append(what))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(race, range(2))
    assert first is second
    assert reports.count("unet") == 1


def test_batch_size_and_controlnet_do_not_reload_the_base(tiny_world: profiles.Profile) -> None:
    plain = load(setup())
    both = load(setup(with_controlnet=True, batch_size=5))
    assert both.plain is plain.plain
    assert both.lock is plain.lock
    assert both.controlled is not None
    assert all(both.controlled.components[name] is part for name, part in plain.plain.components.items())
    assert load(setup()).plain is plain.plain


def test_another_precision_replaces_what_is_loaded(tiny_world: profiles.Profile) -> None:
    first = load(setup())
    second = load(setup(precision="bf16"))
    assert second.plain is not first.plain
    assert second.plain.unet.dtype is torch.bfloat16
    assert load(setup()).plain is not first.plain


@pytest.fixture
def keeping_two() -> Iterator[None]:
    unload()
    loading.keep_loaded(2)
    yield
    loading.keep_loaded(1)


def test_a_painter_for_many_runs_keeps_what_was_used_last(tiny_world: profiles.Profile, keeping_two: None) -> None:
    first, second = load(setup()), load(setup(precision="bf16"))
    assert load(setup()) is first
    load(setup(speed="plain"))  # in place of what was not used for the longest time
    assert load(setup()) is first
    assert load(setup(precision="bf16")) is not second


def test_what_does_not_fit_beside_others_is_loaded_alone(
    tiny_world: profiles.Profile, keeping_two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_base, first = loading._load_base, load(setup())

    def crowded(*given: Any) -> Models:
        if loading._MODEL_CACHE.models:
            raise OutOfMemory("no memory left")
        return load_base(*given)

    monkeypatch.setattr(loading, "_load_base", crowded)
    second = load(setup(precision="bf16"))
    assert load(setup(precision="bf16")) is second
    assert load(setup()) is not first


def test_the_files_are_fp16_and_a_cpu_paints_in_fp32(tiny_world: profiles.Profile) -> None:
    plain = load(setup()).plain
    assert {part.dtype for part in (plain.unet, plain.vae, plain.text_encoder, plain.text_encoder_2)} == {torch.float32}
    assert plain.tokenizer.model_max_length == 77


@pytest.mark.parametrize(("upcast", "expected"), [(True, torch.float32), (False, torch.float16)])
def test_a_vae_that_overflows_in_fp16_is_kept_in_fp32(broken: Path, upcast: bool, expected: torch.dtype) -> None:
    config = broken / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "force_upcast": upcast}))
    assert load(setup(profile="broken", precision="fp16")).plain.vae.dtype is expected


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def make_pickle(file: Path) -> None:
    torch.save({}, file.with_suffix(".bin"))
    file.unlink()


def drop_tensors(file: Path) -> None:
    tensors = load_file(file)
    part = {name: value for name, value in tensors.items() if "mid_block" not in name and "layers.1" not in name}
    save_file(part, file, {"format": "pt"})


def widen_tensors(file: Path) -> None:
    save_file({name: torch.cat([value, value]) for name, value in load_file(file).items()}, file)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate, "diffusion_pytorch_model.safetensors: truncated or not a safetensors file"),
        (make_pickle, "unet: no safetensors file .*bin is a pickle"),
        (drop_tensors, "unet: tensors are missing"),
        (lambda file: drop_tensors(file.parents[1] / "text_encoder" / "model.safetensors"), "encoder: .* missing"),
        (widen_tensors, "unet: "),
        (lambda file: file.with_name("config.json").unlink(), "config.json: missing"),
        (lambda file: file.with_name("config.json").write_text("{"), "config.json: not readable JSON"),
        (lambda file: shutil.copy(file.parents[1] / "vae/config.json", file.parent), "AutoencoderKL, needed UNet2D"),
        (
            lambda file: (file.parents[1] / "model_index.json").write_text("{}"),
            "world: holds None, needed StableDiffusionXL",
        ),
        (lambda file: shutil.rmtree(file.parents[1] / "tokenizer"), "tokenizer.vocab.json: missing"),
        (lambda file: shutil.rmtree(file.parents[1]), "world: no such folder"),
    ],
)
def test_broken_weights_are_one_line_and_are_not_cached(broken: Path, spoil: object, message: str) -> None:
    spoil(broken / "unet" / "diffusion_pytorch_model.safetensors")  # type: ignore[operator]
    for _ in range(2):
        with pytest.raises(WeightsInvalid, match=message) as raised:
            load(setup(profile="broken"))
        assert "\n" not in str(raised.value)
    assert not loading._MODEL_CACHE.models


def test_loading_out_of_memory_says_where(tiny_world: profiles.Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import UNet2DConditionModel

    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(UNet2DConditionModel, "from_pretrained", full)
    unload()
    with pytest.raises(OutOfMemory, match="unet: no memory left on cpu"):
        load(setup())


def test_a_hub_repository_out_of_reach_is_retryable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    base = Component(source="nobody/nothing", size=1)
    far = tiny_models.profile(tmp_path, "far").model_copy(update={"base": base})
    monkeypatch.setitem(profiles.PROFILES, "far", far)
    with pytest.raises(
        ConnectionFailed, match="nobody/nothing is not in the cache, or only in part, and HF_HUB_OFFLINE is set"
    ):
        load(setup(profile="far"))


def test_a_device_that_is_not_there_is_refused(tiny_world: profiles.Profile) -> None:
    with pytest.raises(InputError, match="device 'cuda:9' is not on this machine; there is: cpu"):
        load(setup(device="cuda:9"))


def test_requests_are_known_without_torch() -> None:
    code = "import sys, models.diffusion.requests, models.vision.gate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=profiles.ROOT).returncode == 0
