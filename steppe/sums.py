"""Record the sha256 of the steppe weights in their folder; every run checks them before it paints.

python -m steppe.sums
"""

from __future__ import annotations

from pathlib import Path

from models.profiles import ROOT
from models.storage.files import write_atomically
from models.storage.recorded_sums import SUMS, sums_text


def write_sums(weights: Path) -> None:
    """Record all safetensors files of the folder.

    Raises:
        StorageError: it can't be written.
    """
    write_atomically(weights / SUMS, sums_text(weights, weights.rglob("*.safetensors")).encode())


if __name__ == "__main__":
    write_sums(ROOT / "weights" / "steppe")
