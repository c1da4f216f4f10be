"""The device of this machine, as a run on another machine needs to know it."""

from __future__ import annotations

from models.records import Record


class Machine(Record):
    """A device that paints."""

    device: str
    """cpu, cuda or mps."""
    name: str
    """The GPU's name; else as `device`."""
    memory: int | None
    """The GPU's memory in bytes; None for others."""


def this_machine() -> Machine:
    """Return the device that paints here where none is named."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Machine(device="cuda", name=properties.name, memory=properties.total_memory)
    kind = "mps" if torch.backends.mps.is_available() else "cpu"
    return Machine(device=kind, name=kind, memory=None)
