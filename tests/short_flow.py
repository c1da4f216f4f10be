"""A run of a moment, which fails where it was made before."""

from __future__ import annotations

from pathlib import Path

from prefect import flow


@flow
def short(place: str) -> None:
    """Make an empty file that is not there yet."""
    Path(place).touch(exist_ok=False)
