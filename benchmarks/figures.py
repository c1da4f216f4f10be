"""Output and measurement of a benchmark's figures: each is printed as a line and appended to a file as JSON.

A part that fails is reported, and the others run. Without a GPU, memory figures are omitted, not zero.
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
"""A card's memory that CUDA itself uses, which torch does not count."""
PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate")


class Figures:
    """Prints and stores figures.

    Args:
        out: file to which each figure is appended as a line of JSON, or None.
        device: the torch device that is measured.
    """

    def __init__(self, out: Path | None, device: str) -> None:
        self.out, self.device = out, device
        self.failed: list[str] = []
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)

    def note(self, part: str, **values: Any) -> None:
        """Print and store figures of one part."""
        print(f"{part}: " + ", ".join(f"{name} {_shown(value)}" for name, value in values.items()), flush=True)
        if self.out is not None:
            with self.out.open("a", encoding="utf-8") as file:
                print(json.dumps({"part": part, **values}), file=file)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Run one part: its error is reported and not raised, and its memory is freed."""
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
        """Print and store the machine and the versions of the libraries."""
        versions = {package: metadata.version(package) for package in PACKAGES}
        self.note(what, machine=_name_of(self.device), python=platform.python_version(), **versions)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _name_of(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def parser_for(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return a benchmark's argument parser, with the common options."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: a GPU if there is one)")
    parser.add_argument("--profile", type=Path, help="write torch.profiler's tables to files of this name")
    parser.add_argument("--out", type=Path, help="file to which every figure is appended as a line of JSON")
    return parser


def choose(device: str | None) -> str:
    """Return the given device, else a GPU, else the CPU."""
    return device or ("cuda:0" if torch.cuda.is_available() else "cpu")


def synchronize(device: str) -> None:
    """Wait until the device has finished its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def seconds_of(device: str, work: Callable[[], object]) -> float:
    """Return the seconds that the work takes, including the device's."""
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def start_of_peak(device: str) -> None:
    """Reset the memory statistics that `peak` returns."""
    give_memory_back()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: str) -> dict[str, float]:
    """Return the peak memory since `start_of_peak` in GiB, used by tensors and reserved by torch; empty on a CPU."""
    if not device.startswith("cuda"):
        return {}
    return {
        "peak_allocated_gib": torch.cuda.max_memory_allocated(device) / GIB,
        "peak_reserved_gib": torch.cuda.max_memory_reserved(device) / GIB,
    }


@contextmanager
def card_of(device: str, gib: float | None) -> Iterator[None]:
    """Inside, torch may use only as much memory as a card of this size would offer. None sets no limit."""
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
    """Return the TFLOP/s of a large bf16 matrix product, the device's practical maximum; mean of 20 after 3.

    Args:
        side: of the square matrices; by default 8192 on a GPU and 256 on a CPU, where the figure means little.
    """
    side, count = side or (8192 if device.startswith("cuda") else 256), 20
    first, second = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))

    def multiply(times: int) -> None:
        for _ in range(times):
            torch.mm(first, second)

    multiply(3)
    return count * 2 * side**3 / seconds_of(device, lambda: multiply(count)) / 1e12


def sustained_ceiling(device: str) -> float:
    """Return `ceiling` after 5 s of full load, when a GPU has lowered its clock to its power limit."""
    until = time.perf_counter() + (5.0 if device.startswith("cuda") else 0.0)
    while True:
        rate = ceiling(device)
        if time.perf_counter() > until:
            return rate


class Kernels:
    """Profiles the device between `start` and `stop` with torch's profiler, and writes the table to a file."""

    def __init__(self, file: Path, device: str) -> None:
        self.file, self.device = file, device
        on_gpu = [ProfilerActivity.CUDA] if device.startswith("cuda") else []
        self.profile: Any = profile(activities=[ProfilerActivity.CPU, *on_gpu])
        self.began = 0.0

    def start(self) -> None:
        """Start the profiler."""
        synchronize(self.device)
        self.profile.start()
        self.began = time.perf_counter()

    def stop(self) -> dict[str, Any]:
        """Stop the profiler, write the table, and return wall seconds, busy share and the costliest kernels."""
        synchronize(self.device)
        wall = time.perf_counter() - self.began
        self.profile.stop()
        on_gpu = self.device.startswith("cuda")
        field = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        rows = self.profile.key_averages()
        # Only kernels count, because the rows of the operations that started them repeat their time.
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
