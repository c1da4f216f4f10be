"""The GPU's kernels in Triton's interpreter, on the CPU: they and their gradients say what PyTorch's own code says.

Triton decides when it is imported whether it interprets, so they run in a process of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from models.profiles import ROOT

CLOSE = 5e-5
"""Relative difference that is rounding in fp32."""


@pytest.fixture(scope="module")
def differences() -> dict[str, float]:
    """What `interpreted_kernels.py` found: relative differences by name."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tests" / "interpreted_kernels.py")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "name",
    [
        "geglu",
        "layer_norm",
        "add_layer_norm",
        "group_norm",
        "group_norm of 30 pixels by 48 channels, shifted by picture, silu",
        "group_norm shifted by channel, far from zero",
        "add_bias",
    ],
)
def test_a_kernel_and_its_gradient_are_pytorchs(differences: dict[str, float], name: str) -> None:
    assert differences[name] < CLOSE
    assert differences[f"gradient of {name}"] < CLOSE


@pytest.mark.parametrize("name", ["attention", "unet", "controlnet", "vae, decoding", "vae, encoding"])
def test_a_fused_model_paints_the_same(differences: dict[str, float], name: str) -> None:
    assert differences[name] < CLOSE


def test_all_blocks_of_the_models_are_fused(differences: dict[str, float]) -> None:
    assert differences["blocks that were left"] == 0


def test_a_model_where_triton_fails_stays_as_it_was(differences: dict[str, float]) -> None:
    assert differences["after a kernel that fails"] == 0


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_kernel_that_fails_while_painting_gives_way_in_the_same_painting(
    differences: dict[str, float], part: str
) -> None:
    assert differences[f"painted again after the {part}'s kernel failed"] == 1
    assert differences[f"warnings of the {part}'s kernel"] == 1
    assert differences[f"blocks of the {part} still on kernels"] == 0


def test_memory_that_runs_out_and_a_caller_that_stops_are_no_failures_of_kernels(differences: dict[str, float]) -> None:
    assert differences["failures that are no kernel's"] == 1


def test_lora_layers_that_add_in_one_product_learn_the_same(differences: dict[str, float]) -> None:
    assert differences["lora layers"] > 0
    assert differences["lora"] < CLOSE
    assert differences["gradient of lora"] < CLOSE


def test_a_lora_on_convolutions_is_not_left_out_by_the_kernels(differences: dict[str, float]) -> None:
    assert differences["lora on convolutions"] < CLOSE
    assert differences["gradient of lora on convolutions"] < CLOSE
