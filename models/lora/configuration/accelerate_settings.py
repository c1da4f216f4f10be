"""accelerate's settings, read from its own files or in the document's words.

A training honours the precision, the number of processes on this machine, and which GPUs. Any other setting that would
change the result is refused. One that only tunes the machine is ignored, and the log says so.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StrictBool, StrictInt, ValidationError, model_validator

from models.errors import InputError
from models.lora.configuration.yaml_files import YamlFile, read_yaml
from models.lora.options import MixedPrecision
from models.records import Record
from models.settings import explain, suggest

logger = logging.getLogger(__name__)

HONOURED = (
    "compute_environment",
    "distributed_type",
    "mixed_precision",
    "num_processes",
    "num_machines",
    "gpu_ids",
    "use_cpu",
    "dynamo_backend",
    "dynamo_config",
)
OF_THE_DOCUMENT = ("accelerator", "device_ids")
"""Two more names: the architecture document's for use_cpu and gpu_ids."""
IGNORED = (
    "debug",
    "downcast_bf16",
    "enable_cpu_affinity",
    "machine_rank",
    "main_process_ip",
    "main_process_port",
    "main_training_function",
    "rdzv_backend",
    "same_network",
    "tpu_env",
    "tpu_use_cluster",
    "tpu_use_sudo",
)
"""Keys that make no difference to a training on this machine's CPU or CUDA GPUs."""
NOT_OFFERED = {
    "deepspeed_config": "DeepSpeed",
    "fsdp_config": "fully sharded data parallelism",
    "megatron_lm_config": "Megatron-LM",
    "parallelism_config": "splitting a model over GPUs",
    "fp8_config": "fp8",
    "mpirun_config": "MPI",
    "tp_config": "splitting a model over GPUs",
    "use_xpu": "a GPU of Intel's",
    "tpu_name": "a TPU",
    "tpu_zone": "a TPU",
    "tpu_vm": "a TPU",
    "command_file": "a TPU's commands",
    "commands": "a TPU's commands",
}
"""Sections that must be absent or empty, and what they would ask for."""
OF_EARLIER_RELEASES = ("fp16", "ipex_config", "use_mps_device")
"""Names in files of earlier releases of accelerate, which it no longer writes."""
NAMES = (*HONOURED, *OF_THE_DOCUMENT, *IGNORED, *NOT_OFFERED, *OF_EARLIER_RELEASES)

Gpus = Annotated[tuple[Annotated[StrictInt, Field(ge=0)], ...], Field(min_length=1)]


class AccelerateSettings(Record):
    """In how many processes, where and how precisely a training computes."""

    mixed_precision: MixedPrecision = "no"
    num_processes: StrictInt = Field(1, ge=1)
    gpu_ids: Gpus | None = None
    """Numbers of the GPUs, one a process; None for the first ones."""
    use_cpu: StrictBool = False
    needs_gpu: StrictBool = False
    """A GPU was asked for by name. accelerate's own `use_cpu: false` asks for none: its questionnaire writes it on
    every machine, and it means the CPU where there is no GPU."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        ids = self.gpu_ids or ()
        if len(set(ids)) < len(ids):
            raise ValueError(f"gpu_ids: {_comma(ids)} names a GPU twice")
        if ids and self.use_cpu:
            raise ValueError(f"the CPU and gpu_ids {_comma(ids)} contradict each other; leave one of the two out")
        if ids and len(ids) != self.num_processes:
            raise ValueError(
                f"num_processes {self.num_processes} and gpu_ids {_comma(ids)} contradict each other: each process "
                "has its own GPU; leave one of the two out"
            )
        if self.use_cpu and self.mixed_precision == "fp16":
            raise ValueError("mixed_precision fp16 needs a GPU; on a CPU write bf16 or no")
        return self


def _comma(ids: tuple[int, ...]) -> str:
    return ",".join(map(str, ids))


def read_accelerate_config(file: Path | None) -> AccelerateSettings | None:
    """What a file made by `accelerate config`, or written in the document's words, asks for; None without a file.

    Raises:
        InputError: the file can't be read, contradicts itself, or asks for what a training here does not offer; the
            message names file, line and way out.
    """
    if file is None:
        return None
    config = read_yaml(file)
    if config.values.get("compute_environment") not in (None, "LOCAL_MACHINE"):
        raise _refused(config, "compute_environment", "a training runs on this machine; write LOCAL_MACHINE")
    for name in config.values:
        if name not in NAMES:
            raise InputError(f"{config.at(name)}: unknown name {name!r}{suggest(name, list(NAMES))}")
    _refuse_what_is_not_offered(config)
    try:
        settings = AccelerateSettings.model_validate(_settings(config))
    except ValidationError as error:
        if not error.errors()[0]["loc"]:
            raise InputError(f"{file}: {explain(error)}") from None
        raise InputError(explain(error, lambda name: f"{config.at(name)}: {name}")) from None
    _check_distributed_type(config, settings)
    ignored = [name for name in config.values if name in (*IGNORED, "ipex_config")]
    if ignored:
        logger.info("%s: makes no difference here: %s", file, ", ".join(ignored))
    return settings


def _refuse_what_is_not_offered(config: YamlFile) -> None:
    values = config.values
    for name, what in NOT_OFFERED.items():
        if values.get(name):
            raise InputError(f"{config.at(name)}: {name}: {what} is not offered; remove it")
    section = values.get("ipex_config") or {}
    if not isinstance(section, dict):
        raise _refused(config, "ipex_config", "names and values were expected")
    if section.get("use_xpu"):
        raise _refused(config, "ipex_config", "a GPU of Intel's is not offered; remove use_xpu")
    if values.get("num_machines") not in (None, 1):
        raise _refused(config, "num_machines", "a training runs on one machine; write 1")
    if _distributed_type(config) not in (None, "NO", "MULTI_GPU", "MULTI_CPU", "MPS"):
        raise _refused(config, "distributed_type", "write NO, MULTI_GPU or MULTI_CPU")
    if values.get("mixed_precision") == "fp8":
        raise _refused(config, "mixed_precision", "fp8 does not train a LoRA here; write bf16, fp16 or no")
    _refuse_compilers(config)


def _refuse_compilers(config: YamlFile) -> None:
    section = config.values.get("dynamo_config") or {}
    if not isinstance(section, dict):
        raise _refused(config, "dynamo_config", "names and values were expected")
    backends = {
        "dynamo_backend": config.values.get("dynamo_backend"),
        "dynamo_config": section.get("dynamo_backend"),
    }
    for name, backend in backends.items():
        if backend not in (None, False) and str(backend).upper() != "NO":
            raise _refused(config, name, "a training is not compiled by accelerate; write no or remove it")


def _refused(config: YamlFile, name: str, rule: str) -> InputError:
    return InputError(f"{config.at(name)}: {name}: {rule}, got {config.values[name]!r}")


def _distributed_type(config: YamlFile) -> Any:
    """The type; a bare NO is false to YAML."""
    value = config.values.get("distributed_type")
    return "NO" if value is False else value


def _settings(config: YamlFile) -> dict[str, Any]:
    """The record's fields, as far as the file sets them."""
    ids, use_cpu = _gpu_ids(config), _use_cpu(config)
    settings = {
        "mixed_precision": config.values.get("mixed_precision"),
        "num_processes": config.values.get("num_processes"),
        "gpu_ids": ids,
        "use_cpu": use_cpu,
        "needs_gpu": config.values.get("accelerator") == "gpu",
    }
    if settings["mixed_precision"] is False:  # a bare no
        settings["mixed_precision"] = "no"
    if config.values.get("fp16") and settings["mixed_precision"] in (None, "fp16"):
        settings["mixed_precision"] = "fp16"
    elif config.values.get("fp16"):
        raise InputError(f"{config.at('fp16')}: fp16 and mixed_precision contradict each other; keep one")
    if settings["num_processes"] is None and isinstance(ids, list | tuple):
        settings["num_processes"] = len(ids)
    return {name: value for name, value in settings.items() if value is not None}


def _gpu_ids(config: YamlFile) -> Any:
    """gpu_ids ("all", 1, "0,1") or device_ids ([0, 1]) as numbers; None for all, or where there is neither."""
    given = [name for name in ("gpu_ids", "device_ids") if config.values.get(name) is not None]
    if len(given) > 1:
        raise InputError(f"{config.at('device_ids')}: device_ids and gpu_ids are one thing; keep one")
    if not given or config.values[given[0]] == "all":
        return None
    value = config.values[given[0]]
    ids = value if isinstance(value, list) else str(value).split(",")
    if not ids or not all(str(part).strip().isdecimal() for part in ids):
        raise _refused(config, given[0], "write the numbers of GPUs, such as [0, 1], or all")
    return tuple(int(str(part)) for part in ids)


def _use_cpu(config: YamlFile) -> Any:
    """use_cpu, or what accelerator or distributed_type say of it; None where nothing is said."""
    said = {"use_cpu": config.values.get("use_cpu")}
    if (accelerator := config.values.get("accelerator")) is not None:
        if accelerator not in ("gpu", "cpu"):
            raise _refused(config, "accelerator", "write gpu or cpu")
        said["accelerator"] = accelerator == "cpu"
    if config.values.get("use_mps_device"):
        said["use_mps_device"] = False
    if (kind := _distributed_type(config)) in ("MULTI_CPU", "MULTI_GPU", "MPS"):
        said["distributed_type"] = kind == "MULTI_CPU"
    said = {name: value for name, value in said.items() if value is not None}
    if len(set(map(repr, said.values()))) > 1:
        shown = ", ".join(f"{name} {config.values[name]}" for name in said)
        raise InputError(f"{config.file}: {shown} contradict each other; keep one")
    return next(iter(said.values()), None)


def _check_distributed_type(config: YamlFile, settings: AccelerateSettings) -> None:
    kind, processes = _distributed_type(config), settings.num_processes
    if kind in ("NO", "MPS") and processes > 1:
        rule = f"that is one process, and {processes} are asked for; write MULTI_GPU or MULTI_CPU"
        raise _refused(config, "distributed_type", rule)
    if kind in ("MULTI_GPU", "MULTI_CPU") and processes == 1:
        raise _refused(config, "distributed_type", "that needs num_processes 2 or more; set it, or write NO")
