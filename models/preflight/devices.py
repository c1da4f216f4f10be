"""What a device suggests where an option is unset, and checks that it exists and has enough memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from models.diffusion.machine import Machine
from models.diffusion.requests import PainterSetup
from models.frames.render_config import RunSettings
from models.painters.choose import painter
from models.profiles import GIB, STEPPE, Precision, Profile
from models.settings import EMBEDDED

LOW_MEMORY_BATCH = 2
"""Largest batch size in low-memory mode."""
HEAVY = 4 * GIB
"""A profile that needs more memory than this runs on a CPU only if --device cpu is given."""


class NamesDevice(Protocol):
    """Options that may name the device."""

    @property
    def device(self) -> str | None:
        """cpu, cuda, cuda:N, mps, or None for automatic choice."""


def choose_device(options: NamesDevice) -> str:
    """Return the requested device, else a CUDA GPU, else Apple's, else the CPU.

    Raises:
        ImportError: torch, needed to look for a GPU, is not installed.
    """
    if options.device:
        return options.device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def precision_on(device: str, profile: Profile) -> Precision:
    """Return the default precision, the profile's on a GPU and fp32 on a CPU; checkpoints are compared in it too."""
    return "fp32" if _is_cpu(device) else profile.precision_on_gpu


def batch_size_on(device: str, profile: Profile) -> int:
    """Return the profile's batch size on this device; the comparison of checkpoints uses it too."""
    return profile.batch_size_on_cpu if _is_cpu(device) else profile.batch_size_on_gpu


def needs_low_memory(device: str, profile: Profile, asked: bool | None) -> bool:
    """Whether to use low-memory mode: as asked, else if the GPU's memory is smaller than the profile needs."""
    if asked is not None or not device.startswith("cuda") or why_absent(device):
        return bool(asked) and not _is_cpu(device)
    import torch

    return torch.cuda.mem_get_info(device)[1] < profile.memory


def lacks_memory(machine: Machine, profile: Profile, asked: bool | None) -> bool:
    """Whether painters elsewhere are to use low-memory mode: as asked, else if their GPU is too small."""
    if machine.memory is None:
        return False
    return machine.memory < profile.memory if asked is None else asked


def find_machine_problems(setup: PainterSetup, machine: Machine, where: str) -> Iterator[str]:
    """Yield, one line each, why painters elsewhere can't paint with this setup; no torch is needed.

    Args:
        setup: profile, device and precision.
        machine: theirs.
        where: their address.
    """
    profile = setup.profile
    if setup.device != machine.device:
        yield (
            f"device {setup.device}: the painters at {where} have {machine.name}: leave --device unset, or paint with "
            "--painters embedded"
        )
    elif machine.device == "cpu":
        yield from _cpu_problems(setup, is_asked=False)
    elif machine.memory is not None and machine.memory < profile.low_memory:
        yield (
            f"profile {profile.name} needs {profile.low_memory / GIB:.1f} GiB of memory at least, {machine.name} at "
            f"{where} has {machine.memory / GIB:.1f} GiB: use --profile {STEPPE.name}, or larger GPUs"
        )


def device_name(settings: RunSettings) -> str:
    """Return the name in reports of the device that paints: "cpu", "mps", or the GPU's name."""
    device = settings.setup.device
    if settings.painters != EMBEDDED:
        return painter(settings.painters).machine().name
    if not device.startswith("cuda"):
        return device
    import torch

    return str(torch.cuda.get_device_name(device))


def _is_cpu(device: str) -> bool:
    return device.partition(":")[0] == "cpu"


def find_device_problems(setup: PainterSetup, *, is_asked: bool) -> Iterator[str]:
    """Yield, one line each, why the profile can't run on the device.

    Args:
        setup: profile, device and precision.
        is_asked: whether the options name the device.

    Raises:
        ImportError, OSError: torch can't be imported.
    """
    profile, device = setup.profile, setup.device
    if _is_cpu(device):
        yield from _cpu_problems(setup, is_asked=is_asked)
        return
    absent = why_absent(device)
    if absent:
        yield absent
    elif device.startswith("cuda"):
        what = f"profile {profile.name}"
        if setup.low_memory:
            yield from find_memory_problems(device, profile.low_memory, what)
        else:
            yield from find_memory_problems(
                device, profile.memory, what, "close what else uses it, or use --low-memory"
            )


def why_absent(device: str) -> str | None:
    """Return in one line why the device is not available; None if it is.

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


def _cpu_problems(setup: PainterSetup, *, is_asked: bool) -> Iterator[str]:
    if not is_asked and setup.profile.memory > HEAVY:
        yield (
            f"profile {setup.profile.name} needs a GPU: none found; use --profile {STEPPE.name}, "
            "or set --device cpu to run it anyway (very slow)"
        )
    if setup.precision == "fp16":
        yield "precision fp16 does not work on a CPU: use --precision fp32 or bf16, or a GPU"


def find_memory_problems(
    device: str, memory: int, what: str, remedy: str = "close what else uses it, or wait"
) -> Iterator[str]:
    """Yield one line if a CUDA device has fewer bytes free than `memory`; `what` names the need in it."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    # Memory reserved by this process holds an earlier run's models; they are reused or unloaded.
    usable = free + torch.cuda.memory_reserved(device)
    needed = f"{what} needs {memory / GIB:.1f} GiB of memory on {device}"
    if total < memory:
        yield f"{needed}, which has {total / GIB:.1f} GiB: use --profile {STEPPE.name}, or a larger GPU"
    elif usable < memory:
        yield f"{needed}, {usable / GIB:.1f} of {total / GIB:.1f} GiB are free: {remedy}"
