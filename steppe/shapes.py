"""The shapes of the steppe models' pictures: a quarter of SDXL's sides, about 65,000 pixels each."""

from __future__ import annotations

SHAPES: dict[str, tuple[int, int]] = {"square": (256, 256), "wide": (336, 192), "tall": (192, 336)}
"""Width and height in pixels: 1:1, 16:9 and 9:16."""
SHARES: dict[str, float] = {"square": 0.42, "wide": 0.33, "tall": 0.25}
"""Share of the drawings, and of the training batches, of each shape."""
