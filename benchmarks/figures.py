"""Figures of a benchmark as they are measured: a line each for people, and a JSON line each for programs.

A part that fails is told and written down, and the others go on. Where there is no GPU there are no figures of its
memory, rather than zeros.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from models.diffusion.weights import give_memory_back

GIB = 2**30
CONTEXT_GIB = 1.0
"""Of a card's memory, what CUDA itself takes, and torch does not count."""
PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate")


class Figures:
    """Where figures go.

    Args:
        out: file that each figure is appended to as a line of JSON, or None.
        device: a torch device, whose memory and time are measured.
    """

    def __init__(self, out: Path | None, device: str) -> None:
        self.out, self.device = out, device
        self.failed: list[str] = []
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)

    def note(self, part: str, **values: Any) -> None:
        """Tell figures of one part."""
        print(f"{part}: " + ", ".join(f"{name} {_shown(value)}" for name, value in values.items()), flush=True)
        if self.out is not None:
            with self.out.open("a", encoding="utf-8") as file:
                print(json.dumps({"part": part, **values}), file=file)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure one part; what it raises is told, and does not reach the others. Its memory is given back."""
        began = time.perf_counter()
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.failed.append(name)
            self.note(name, error=f"{type(error).__name__}: {error}", after_s=time.perf_counter() - began)
        finally:
            give_memory_back()

    def header(self, what: str) -> None:
        """Tell of the machine and of the versions that everything else is measured with."""
        versions = {package: metadata.version(package) for package in PACKAGES}
        self.note(what, machine=_name_of(self.device), python=platform.python_version(), **versions)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _name_of(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def parser_for(module: str, description: str | None) -> argparse.ArgumentParser:
    """A benchmark's command line, with what all of them take."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    parser.add_argument("--profile", type=Path, help="write torch.profiler's tables to files of this name")
    parser.add_argument("--out", type=Path, help="file that every figure is appended to as a line of JSON")
    return parser


def choose(device: str | None) -> str:
    """The device asked for, else a GPU, else the CPU."""
    return device or ("cuda:0" if torch.cuda.is_available() else "cpu")


def synchronize(device: str) -> None:
    """Wait until the device has done what it was asked."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def seconds_of(device: str, work: Callable[[], object]) -> float:
    """Seconds that the work takes, the device's own included."""
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def start_of_peak(device: str) -> None:
    """From here on `peak` counts."""
    give_memory_back()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: str) -> dict[str, float]:
    """Most memory that was held since `start_of_peak`, in GiB: by tensors, and by torch for them. Empty on a CPU."""
    if not device.startswith("cuda"):
        return {}
    return {
        "peak_allocated_gib": torch.cuda.max_memory_allocated(device) / GIB,
        "peak_reserved_gib": torch.cuda.max_memory_reserved(device) / GIB,
    }


@contextmanager
def card_of(device: str, gib: float | None) -> Iterator[None]:
    """Inside, torch may take no more of the device than a card of so many GiB could give it. None is no limit."""
    if gib is None or not device.startswith("cuda"):
        yield
        return
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (gib - CONTEXT_GIB) * GIB / total), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


def ceiling(device: str, side: int | None = None) -> float:
    """TFLOP/s of a large bf16 matrix product: what nothing on this device exceeds. Mean of 20 after 3.

    Args:
        side: of the square matrices; 8192 on a GPU and 256 on a CPU, where the figure means little.
    """
    side, count = side or (8192 if device.startswith("cuda") else 256), 20
    first, second = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))

    def multiply(times: int) -> None:
        for _ in range(times):
            torch.mm(first, second)

    multiply(3)
    return count * 2 * side**3 / seconds_of(device, lambda: multiply(count)) / 1e12


def sustained_ceiling(device: str) -> float:
    """The same after some seconds of nothing else, when a GPU has lowered its clock to keep to its power."""
    until = time.perf_counter() + (5.0 if device.startswith("cuda") else 0.0)
    while True:
        rate = ceiling(device)
        if time.perf_counter() > until:
            return rate


class Kernels:
    """What runs on the device between `start` and `stop`, by torch's profiler, as a table in a file."""

    def __init__(self, file: Path, device: str) -> None:
        self.file, self.device = file, device
        on_gpu = [ProfilerActivity.CUDA] if device.startswith("cuda") else []
        self.profile: Any = profile(activities=[ProfilerActivity.CPU, *on_gpu])
        self.began = 0.0

    def start(self) -> None:
        """Begin."""
        synchronize(self.device)
        self.profile.start()
        self.began = time.perf_counter()

    def stop(self) -> dict[str, Any]:
        """End, write the table, and return its figures: wall seconds, how busy the GPU was, the costliest kernels."""
        synchronize(self.device)
        wall = time.perf_counter() - self.began
        self.profile.stop()
        on_gpu = self.device.startswith("cuda")
        field = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        rows = self.profile.key_averages()
        # Only kernels count: what started them has the same microseconds in its own row.
        kernels = [row for row in rows if not on_gpu or row.device_type.name == "CUDA"]
        kernels = sorted(kernels, key=lambda row: -float(getattr(row, field)))
        total = sum(float(getattr(row, field)) for row in kernels) / 1e6
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(rows.table(sort_by=field, row_limit=60, max_name_column_width=90), encoding="utf-8")
        return {
            "profiled_s": wall,
            "busy_share": total / wall,
            "table": str(self.file),
            "top": [[row.key[:80], round(float(getattr(row, field)) / 1e6 / total, 4)] for row in kernels[:12]],
        }
