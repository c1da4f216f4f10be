"""Which device paints, in which precision, how many frames at once, and what of it lies in its memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.preflight.devices import (
    choose_batch_size,
    choose_device,
    choose_low_memory,
    choose_precision,
    find_device_problems,
)
from models.profiles import GIB, SDXL
from models.settings import StoryboardOptions


def test_what_is_unset_is_chosen_by_the_device() -> None:
    sdxl = StoryboardOptions(profile="sdxl", low_memory=False)
    assert choose_device(StoryboardOptions(device="cuda:1")) == "cuda:1"
    assert choose_precision(sdxl, "cuda:1") == SDXL.precision_on_gpu == "fp16"
    assert choose_precision(sdxl, "cpu") == "fp32"
    assert choose_precision(StoryboardOptions(precision="bf16"), "cpu") == "bf16"
    assert (choose_batch_size(sdxl, "cuda"), choose_batch_size(sdxl, "cpu")) == (5, 1)
    assert choose_batch_size(StoryboardOptions(batch_size=3), "cpu") == 3
    spared = StoryboardOptions(profile="sdxl", low_memory=True)
    assert (choose_batch_size(spared, "cuda"), choose_batch_size(spared, "cpu")) == (2, 1)


def test_a_card_too_small_for_everything_keeps_only_what_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)

    def lines(free: float, total: float, **options: Any) -> str:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free * GIB), int(total * GIB)))
        asked = StoryboardOptions(profile="sdxl", device="cuda", **options)
        return f"{choose_low_memory(asked, 'cuda')}: {' / '.join(find_device_problems(asked))}"

    assert lines(11.6, 11.9) == "True: "
    assert lines(23, 24) == "False: "
    assert lines(23, 24, low_memory=True) == "True: "
    assert lines(12.5, 24).endswith("12.5 of 24.0 GiB are free: close what else uses it, or use --low-memory")
    assert lines(12.5, 24, low_memory=True) == "True: "
    assert lines(11, 11.9, low_memory=False).endswith("which has 11.9 GiB: use --profile steppe, or a larger GPU")
    assert lines(7, 8).startswith("True: profile sdxl needs 11.2 GiB of memory on cuda, which has 8.0 GiB")
    assert not choose_low_memory(StoryboardOptions(low_memory=True), "cpu")
