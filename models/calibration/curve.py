"""The ROC of a calibration as a picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from models.vision.likeness import Calibration

SIDE, EDGE = 360, 56
_PAPER, _INK, _GRID, _LINE, _MARK = "#faf6ed", "#2e2722", "#e5dccb", "#3a6e78", "#b04628"
_FACTOR = 2
"""Drawn so many times larger and then reduced, which smooths the lines."""


def draw_curve(made: Calibration) -> bytes:
    """Return the ROC with the lower bound marked, as PNG."""
    side, edge = SIDE * _FACTOR, EDGE * _FACTOR
    image = Image.new("RGB", (side + 2 * edge, side + 2 * edge), _PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13 * _FACTOR)

    def at(passes: float, kept: float) -> tuple[float, float]:
        return edge + passes * side, edge + (1 - kept) * side

    for n in range(6):
        pen.line([at(n / 5, 0), at(n / 5, 1)], _GRID, _FACTOR)
        pen.line([at(0, n / 5), at(1, n / 5)], _GRID, _FACTOR)
        pen.text((at(n / 5, 0)[0], side + edge + 8), f"{20 * n} %", _INK, font, anchor="ma")
        pen.text((edge - 8, at(0, n / 5)[1]), f"{20 * n} %", _INK, font, anchor="rm")
    pen.line([at(0, 0), at(1, 1)], _GRID, 2 * _FACTOR)
    pen.line([at(passes, kept) for kept, passes in made.curve], _LINE, 3 * _FACTOR, joint="curve")
    x, y = at(1 - made.caught, 1 - made.false_alarms)
    reach = 5 * _FACTOR
    pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=_MARK)
    title = f"AUC {made.auc:.3f}; least likeness {made.bounds.least:.2f}"
    pen.text((edge, edge // 2), title, _INK, font, anchor="lm")
    below = f"others that pass, of {made.others}; upwards his that are kept, of {made.his}"
    pen.text((edge + side // 2, side + 2 * edge - 12), below, _INK, font, anchor="mb")
    file = io.BytesIO()
    image.resize((SIDE + 2 * EDGE, SIDE + 2 * EDGE), Image.Resampling.LANCZOS).save(file, "PNG")
    return file.getvalue()
