"""Which device paints, in which precision, how many frames at once, and what of it lies in its memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.diffusion.requests import PainterSetup
from models.preflight.devices import find_device_problems
from models.preflight.resolution import resolve
from models.profiles import GIB, SDXL
from models.settings import StoryboardOptions


def setup_of(device: str, **options: Any) -> PainterSetup:
    """How a board of SDXL is painted on this device."""
    return resolve(StoryboardOptions(profile="sdxl", device=device, **options), SDXL, "").setup


def test_what_is_unset_is_chosen_by_the_device() -> None:
    on_gpu, on_cpu = setup_of("cuda:1", low_memory=False), setup_of("cpu", low_memory=False)
    assert (on_gpu.device, on_gpu.precision, on_gpu.batch_size) == ("cuda:1", "fp16", 5)
    assert (on_cpu.device, on_cpu.precision, on_cpu.batch_size) == ("cpu", "fp32", 1)
    assert setup_of("cpu", precision="bf16").precision == "bf16"
    assert setup_of("cpu", batch_size=3).batch_size == 3
    assert [setup_of(device, low_memory=True).batch_size for device in ("cuda", "cpu")] == [2, 1]


def test_a_gpu_that_is_absent_is_resolved_too_so_that_the_checks_can_refuse_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    absent = setup_of("cuda")
    assert not absent.low_memory
    assert "device cuda: " in " ".join(find_device_problems(absent, is_asked=True))


def test_a_card_too_small_for_everything_keeps_only_what_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)

    def lines(free: float, total: float, **options: Any) -> str:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free * GIB), int(total * GIB)))
        setup = setup_of("cuda", **options)
        return f"{setup.low_memory}: {' / '.join(find_device_problems(setup, is_asked=True))}"

    assert lines(11.6, 11.9) == "True: "
    assert lines(23, 24) == "False: "
    assert lines(23, 24, low_memory=True) == "True: "
    assert lines(12.5, 24).endswith("12.5 of 24.0 GiB are free: close what else uses it, or use --low-memory")
    assert lines(12.5, 24, low_memory=True) == "True: "
    assert lines(11, 11.9, low_memory=False).endswith("which has 11.9 GiB: use --profile steppe, or a larger GPU")
    assert lines(7, 8).startswith("True: profile sdxl needs 11.2 GiB of memory on cuda, which has 8.0 GiB")
    assert not setup_of("cpu", low_memory=True).low_memory
