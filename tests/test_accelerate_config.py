"""accelerate's settings: in its own words and the document's, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from models.errors import InputError
from models.lora.configuration.accelerate_settings import (
    HONOURED,
    IGNORED,
    NOT_OFFERED,
    AccelerateSettings,
    read_accelerate_config,
)
from models.profiles import ROOT

CONFIGS = ROOT / "configs"

QUESTIONNAIRE = """\
compute_environment: LOCAL_MACHINE
debug: false
distributed_type: MULTI_GPU
downcast_bf16: 'no'
enable_cpu_affinity: false
gpu_ids: all
machine_rank: 0
main_training_function: main
mixed_precision: bf16
num_machines: 1
num_processes: 4
rdzv_backend: static
same_network: true
tpu_env: []
tpu_use_cluster: false
tpu_use_sudo: false
use_cpu: false
"""
"""What `accelerate config` writes for four GPUs."""


def read(text: str) -> AccelerateSettings:
    file = Path("accelerate.yaml")
    file.write_text(text, encoding="utf-8")
    settings = read_accelerate_config(file)
    assert settings is not None
    return settings


# --- what is understood


def test_the_documents_hardware_is_in_its_file_and_honoured() -> None:
    file = CONFIGS / "accelerate_config.yaml"
    assert yaml.safe_load(file.read_text("utf-8")) == {
        "compute_environment": "LOCAL_MACHINE",
        "accelerator": "gpu",
        "device_ids": [0],
        "mixed_precision": "fp16",
    }
    settings = AccelerateSettings(mixed_precision="fp16", num_processes=1, gpu_ids=(0,), needs_gpu=True)
    assert read_accelerate_config(file) == settings


def test_the_example_for_two_gpus() -> None:
    settings = read_accelerate_config(CONFIGS / "accelerate_two_gpus.yaml")
    assert settings == AccelerateSettings(mixed_precision="bf16", num_processes=2)


def test_no_file_is_no_settings() -> None:
    assert read_accelerate_config(None) is None


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (QUESTIONNAIRE, {"mixed_precision": "bf16", "num_processes": 4}),
        ("mixed_precision: no\n", {}),
        ("mixed_precision: off\ndistributed_type: NO\n", {}),
        ("mixed_precision:\nuse_cpu: null\ngpu_ids: null\n", {}),
        ("device_ids: [0, 1]\n", {"num_processes": 2, "gpu_ids": (0, 1)}),
        ("device_ids: [2, 1]\nnum_processes: 2\n", {"num_processes": 2, "gpu_ids": (2, 1)}),
        ("gpu_ids: 3\n", {"gpu_ids": (3,)}),
        ("gpu_ids: 0, 1\n", {"num_processes": 2, "gpu_ids": (0, 1)}),
        ("gpu_ids: all\nnum_processes: 2\n", {"num_processes": 2}),
        ("accelerator: cpu\nmixed_precision: bf16\n", {"use_cpu": True, "mixed_precision": "bf16"}),
        ("distributed_type: MULTI_CPU\nnum_processes: 2\n", {"use_cpu": True, "num_processes": 2}),
        ("use_cpu: true\naccelerator: cpu\n", {"use_cpu": True}),
        ("dynamo_backend: NO\ndynamo_config: {dynamo_backend: 'no'}\ndeepspeed_config: {}\n", {}),
        ('{"num_processes": 2, "distributed_type": "MULTI_GPU"}', {"num_processes": 2}),
    ],
)
def test_what_a_file_says_becomes_the_settings(text: str, settings: dict[str, Any]) -> None:
    assert read(text) == AccelerateSettings(**settings)


def test_what_makes_no_difference_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "models"):
        read("debug: true\nmixed_precision: bf16\nmain_process_port: 29501\n")
        read("mixed_precision: bf16\n")
    assert caplog.messages == ["accelerate.yaml: makes no difference here: debug, main_process_port"]


def test_every_key_that_accelerate_knows_has_its_place() -> None:
    from accelerate.commands.config.config_args import ClusterConfig

    # Earlier releases had these too; dynamo_backend is now a part of dynamo_config.
    theirs = set(ClusterConfig.__dataclass_fields__) | {"dynamo_backend", "tp_config", "use_xpu"}
    assert {*HONOURED, *IGNORED, *NOT_OFFERED} == theirs
    assert len(HONOURED) + len(IGNORED) + len(NOT_OFFERED) == len(theirs)


# --- what is refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("compute_environment: AMAZON_SAGEMAKER\n", ", line 1: compute_environment: a training runs on this machine; "),
        ("distributed_type: FSDP\n", ", line 1: distributed_type: write NO, MULTI_GPU or MULTI_CPU, got 'FSDP'"),
        ("debug: no\nnum_machines: 2\n", ", line 2: num_machines: a training runs on one machine; write 1, got 2"),
        ("mixed_precision: fp8\n", ", line 1: mixed_precision: fp8 does not train a LoRA here; write bf16, fp16 or no"),
        ("mixed_precision: half\n", ", line 1: mixed_precision: Input should be 'no', 'fp16' or 'bf16', got 'half'"),
        ("mixed_precision: yes\n", ", line 1: mixed_precision: Input should be 'no', 'fp16' or 'bf16', got True"),
        ("deepspeed_config: {zero_stage: 2}\n", ", line 1: deepspeed_config: DeepSpeed is not offered; remove it"),
        ("fsdp_config: {a: 1}\n", ", line 1: fsdp_config: fully sharded data parallelism is not offered; remove it"),
        ("tpu_name: x\n", ", line 1: tpu_name: a TPU is not offered; remove it"),
        ("dynamo_backend: INDUCTOR\n", ", line 1: dynamo_backend: a training is not compiled by accelerate; write no"),
        ("dynamo_config: {dynamo_backend: EAGER}\n", ", line 1: dynamo_config: a training is not compiled by accel"),
        ("dynamo_config: [1]\n", ", line 1: dynamo_config: names and values were expected, got [1]"),
        ("num_process: 2\n", ", line 1: unknown name 'num_process'; did you mean num_processes?"),
        ("num_processes: 0\n", ", line 1: num_processes: Input should be greater than or equal to 1, got 0"),
        ("num_processes: '2'\n", ", line 1: num_processes: Input should be a valid integer, got '2'"),
        ("num_processes: yes\n", ", line 1: num_processes: Input should be a valid integer, got True"),
        ("use_cpu: 1\n", ", line 1: use_cpu: Input should be a valid boolean, got 1"),
        ("accelerator: tpu\n", ", line 1: accelerator: write gpu or cpu, got 'tpu'"),
        ("device_ids: []\n", ", line 1: device_ids: write the numbers of GPUs, such as [0, 1], or all, got []"),
        ("device_ids: [-1]\n", ", line 1: device_ids: write the numbers of GPUs, such as [0, 1], or all, got [-1]"),
        ("gpu_ids: 0,x\n", ", line 1: gpu_ids: write the numbers of GPUs, such as [0, 1], or all, got '0,x'"),
        ("gpu_ids: 0\ndevice_ids: [0]\n", ", line 2: device_ids and gpu_ids are one thing; keep one"),
        ("device_ids: [1, 1]\n", ": gpu_ids: 1,1 names a GPU twice"),
        ("num_processes: 3\ndevice_ids: [0, 1]\n", ": num_processes 3 and gpu_ids 0,1 contradict each other: each pro"),
        ("num_processes: 1\ngpu_ids: 0,1\n", ": num_processes 1 and gpu_ids 0,1 contradict each other: each process"),
        ("accelerator: cpu\ndevice_ids: [0]\n", ": the CPU and gpu_ids 0 contradict each other; leave one of the two"),
        ("accelerator: cpu\nmixed_precision: fp16\n", ": mixed_precision fp16 needs a GPU; on a CPU write bf16 or no"),
        ("accelerator: gpu\nuse_cpu: true\n", ": use_cpu True, accelerator gpu contradict each other; keep one"),
        ("use_cpu: true\ndistributed_type: MULTI_GPU\n", ": use_cpu True, distributed_type MULTI_GPU contradict each"),
        ("distributed_type: NO\nnum_processes: 2\n", ", line 1: distributed_type: that is one process, and 2 are ask"),
        ("distributed_type: MULTI_GPU\n", ", line 1: distributed_type: that needs num_processes 2 or more; set it, or"),
        ("debug: 1\ndebug: 2\n", ", line 2: debug is also in line 1; keep one"),
    ],
)
def test_what_is_not_honoured_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(text)
    assert str(caught.value).startswith(f"accelerate.yaml{words}")
    assert "\n" not in str(caught.value)


def test_settings_are_refused_the_same_without_a_file() -> None:
    for wrong in ({"num_processes": 0}, {"gpu_ids": ()}, {"gpu_ids": (0, 1)}, {"gpus": 1}, {"mixed_precision": "fp8"}):
        with pytest.raises(ValidationError):
            AccelerateSettings.model_validate(wrong)


@pytest.mark.parametrize("name", ["accelerate_two_gpus.yaml"])
def test_accelerate_itself_reads_the_example_too(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(CONFIGS / name)).num_processes == 2
