"""What the encoders of pictures share: one of a kind stays loaded, and their features are unit vectors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from models.diffusion.compute import compute
from models.diffusion.weights import check_device, is_out_of_memory
from models.errors import OutOfMemory, ScoreUnavailable

if TYPE_CHECKING:
    import torch

Source = TypeVar("Source")
Encoder = TypeVar("Encoder")


class Shelf(Generic[Source, Encoder]):
    """Keeps the encoder that was loaded last, which threads share."""

    def __init__(self, read: Callable[[Source, str], Encoder]) -> None:
        self._read, self._lock = read, threading.Lock()
        self._kept: tuple[Source, str, Encoder] | None = None

    def load(self, source: Source, device: str) -> Encoder:
        """Return the encoder of this source on this device, loaded by the first caller.

        Raises:
            InputError: unknown device.
            WeightsInvalid, ConnectionFailed, OutOfMemory: see `models.errors`. Nothing is kept then.
        """
        return compute(device, lambda: self._shelved(source, device), beside=True)

    def _shelved(self, source: Source, device: str) -> Encoder:
        with self._lock:
            if self._kept is None or self._kept[:2] != (source, device):
                self._kept = None  # before the next is read, so that both are never in memory
                check_device(device)
                self._kept = (source, device, self._read(source, device))
            return self._kept[2]

    def drop(self) -> None:
        """Keep none."""
        with self._lock:
            self._kept = None


def unit_vectors(name: str, encode: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Return an encoder's features at length 1, float32 [pictures or texts, features] on the CPU.

    Raises:
        ScoreUnavailable: they are not finite.
        OutOfMemory: retryable.
    """
    import torch

    try:
        with torch.inference_mode():
            features = encode().float().cpu()
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"no memory left on the device for {name}; try --batch-size 1") from error
        raise
    length = features.norm(dim=-1, keepdim=True)
    if not bool(features.isfinite().all()) or not bool((length > 0).all()):
        raise ScoreUnavailable(f"{name} returned features that are not finite, so there is no score")
    unit: torch.Tensor = features / length
    return unit
