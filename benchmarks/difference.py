"""Differences between the pictures of two storyboards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.stock_storyboard import NAME
from models.board.directory import frame_name


def compare(first: Path, second: Path, frames: int) -> dict[str, Any]:
    """Return PSNR in dB and largest difference (of 255) of each frame of our and the stock storyboard."""
    ratios, largest = [], []
    for number in range(1, frames + 1):
        pair = (first / frame_name(number), second / NAME.format(number=number))
        a, b = (np.asarray(Image.open(file).convert("RGB"), dtype=np.float64) for file in pair)
        error = float(((a - b) ** 2).mean())
        ratios.append(round(float(10 * np.log10(255**2 / error)), 1) if error else None)
        largest.append(int(np.abs(a - b).max()))
    return {"psnr_db": ratios, "largest_difference": largest}
