"""Which device paints, in which precision, how many frames at once, and whether it can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from models.profiles import GIB, STEPPE, Precision, Profile
from models.settings import StoryboardOptions

LOW_MEMORY_BATCH = 2
"""Frames that are painted at once, at most, where memory is low."""
HEAVY = 4 * GIB
"""A profile that takes more device memory than this is not run on a CPU unless the CPU is asked for by name."""


class NamesDevice(Protocol):
    """Options in which a person may name the device."""

    @property
    def device(self) -> str | None:
        """cpu, cuda, cuda:N or mps, or None."""


def choose_device(options: NamesDevice) -> str:
    """The device asked for, else a CUDA GPU, else Apple's, else the CPU.

    Raises:
        ImportError: torch is needed to look for a GPU and is not installed.
    """
    if options.device:
        return options.device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_precision(options: StoryboardOptions, device: str) -> Precision:
    """The precision asked for, else the profile's on a GPU and fp32 on a CPU."""
    return options.precision or precision_on(device, options.get_profile())


def precision_on(device: str, profile: Profile) -> Precision:
    """The one precision in which a profile is painted on this device, also where checkpoints are compared."""
    return "fp32" if _is_cpu(device) else profile.precision_on_gpu


def choose_batch_size(options: StoryboardOptions, device: str) -> int:
    """How many frames are painted at once: what was asked for, else the profile's for this kind of device."""
    profile = options.get_profile()
    if options.batch_size or _is_cpu(device):
        return options.batch_size or profile.batch_size_on_cpu
    most = LOW_MEMORY_BATCH if choose_low_memory(options, device) else profile.batch_size_on_gpu
    return min(most, profile.batch_size_on_gpu)


def choose_low_memory(options: StoryboardOptions, device: str) -> bool:
    """Whether to keep in the device's memory only what paints: if asked for, else where there is no room for all."""
    if options.low_memory is not None or not device.startswith("cuda"):
        return bool(options.low_memory) and not _is_cpu(device)
    import torch

    return torch.cuda.mem_get_info(device)[1] < options.get_profile().memory


def device_name(device: str) -> str:
    """What a report calls the device: "cpu", or the GPU's name."""
    if not device.startswith("cuda"):
        return device
    import torch

    return str(torch.cuda.get_device_name(device))


def _is_cpu(device: str) -> bool:
    return device.partition(":")[0] == "cpu"


def find_device_problems(options: StoryboardOptions) -> Iterator[str]:
    """Why the profile can't be painted on the chosen device, one line each.

    Raises:
        ImportError, OSError: torch can't be imported.
    """
    device = choose_device(options)
    if _is_cpu(device):
        yield from _cpu_problems(options)
        return
    absent = why_absent(device)
    if absent:
        yield absent
    elif device.startswith("cuda"):
        profile, what = options.get_profile(), f"profile {options.profile}"
        if choose_low_memory(options, device):
            yield from find_memory_problems(device, profile.low_memory, what)
        else:
            yield from find_memory_problems(
                device, profile.memory, what, "close what else uses it, or use --low-memory"
            )


def why_absent(device: str) -> str | None:
    """Why this machine has no such device, in one line; None where it has.

    Raises:
        ImportError, OSError: torch can't be imported.
    """
    import torch

    kind, _, index = device.partition(":")
    if kind == "mps" and not torch.backends.mps.is_available():
        return f"device {device}: PyTorch finds no Apple GPU here: leave --device unset, or set --device cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        reason = "no GPU was found" if torch.version.cuda else f"torch {torch.__version__} is built without CUDA"
        return f"device {device}: {reason}: correct that, leave --device unset, or set --device cpu"
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        return f"device {device}: there are {torch.cuda.device_count()} GPUs, counted from 0: set --device cuda:0"
    return None


def _cpu_problems(options: StoryboardOptions) -> Iterator[str]:
    profile = options.get_profile()
    if options.device is None and profile.memory > HEAVY:
        yield (
            f"profile {profile.name} needs a GPU: none found; use --profile {STEPPE.name}, "
            "or set --device cpu to run it anyway (very slow)"
        )
    if options.precision == "fp16":
        yield "precision fp16 does not work on a CPU: use --precision fp32 or bf16, or a GPU"


def find_memory_problems(
    device: str, memory: int, what: str, remedy: str = "close what else uses it, or wait"
) -> Iterator[str]:
    """Whether a CUDA device has this many bytes free for what is to run on it, one line if not."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    # What this process holds is the models of an earlier run: they are used again or make room.
    usable = free + torch.cuda.memory_reserved(device)
    needed = f"{what} needs {memory / GIB:.1f} GiB of memory on {device}"
    if total < memory:
        yield f"{needed}, which has {total / GIB:.1f} GiB: use --profile {STEPPE.name}, or a larger GPU"
    elif usable < memory:
        yield f"{needed}, {usable / GIB:.1f} of {total / GIB:.1f} GiB are free: {remedy}"
