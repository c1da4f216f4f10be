"""What is said before a training about options that are mapped, or decided where they contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

from models.lora.configuration.config_files import notes, training_options
from models.lora.options import TrainingOptions
from models.profiles import ROOT


def test_what_is_mapped_or_decided_is_said() -> None:
    options = training_options({}, ROOT / "configs" / "training_config.yaml")
    assert notes(options, 66) == (
        "pretrained_model_name_or_path is another name of base_model_name_or_path",
        "target_modules to_q, to_v are q_proj, v_proj in the text encoders",
        "1000 updates of 4 pictures are 61 epochs of 66 pictures; max_train_steps wins over num_train_epochs 1",
        "enable_xformers_memory_efficient_attention: PyTorch's own attention is used, which is as fast",
    )


@pytest.mark.parametrize(
    ("given", "processes", "words"),
    [
        ({"max_train_steps": 10}, 1, "10 updates of 4 pictures are 0.61 epochs of 66 pictures"),
        ({"max_train_steps": 33}, 1, "33 updates of 4 pictures are 2 epochs of 66 pictures"),
        ({"gradient_accumulation_steps": 2}, 4, "1000 updates of 32 pictures are 485 epochs of 66 pictures"),
    ],
)
def test_epochs_are_counted_over_all_that_makes_an_update(given: dict[str, Any], processes: int, words: str) -> None:
    assert any(line.startswith(f"{words}; ") for line in notes(TrainingOptions(**given), 66, processes))


def test_what_was_not_decided_is_not_said() -> None:
    plain = {"enable_xformers_memory_efficient_attention": False, "target_modules": ("to_k", "to_out.0")}
    for unset in ("max_train_steps", "num_train_epochs"):
        assert notes(TrainingOptions.model_validate(plain | {unset: None}), 66) == (
            "target_modules to_k, to_out.0 are k_proj, out_proj in the text encoders",
        )
