"""The loss over the steps as a picture, drawn by Pillow alone."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.board.contact_sheet import CLAY, GREY, INK, PAPER, RULE
from models.board.lettering import Colour, Weight, get_font

MOST_POINTS = 1500
"""Raw points that are drawn; more are thinned evenly. The smoothed line is made of all of them."""

_STEPPE: Colour = (58, 110, 120)
_LEAF: Colour = (96, 122, 52)
_FAINT: Colour = (226, 190, 172)
_SMOOTH = 2  # everything is drawn this much larger and reduced, because Pillow draws lines without antialiasing
_TICKS = 5
_Values = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LossPoint:
    """One update. All numbers are finite."""

    step: int
    loss: float
    learning_rate: float
    validation_loss: float | None = None
    """Where it was measured after this update."""


class _Axis(NamedTuple):
    """Values between two edges, and the round ones among them."""

    low: float
    high: float
    ticks: list[float]

    def share(self, values: _Values) -> _Values:
        """0 at the low end, 1 at the high one; what lies beyond is drawn at the edge."""
        share: _Values = np.clip((values - self.low) / (self.high - self.low), 0, 1)
        return share


def loss_curve(
    points: Sequence[LossPoint],
    *,
    checkpoints: Sequence[int] = (),
    steps_per_second: float | None = None,
    width: int = 1200,
    height: int = 480,
) -> Image.Image:
    """Loss, smoothed loss, validation loss and learning rate over the steps.

    The loss axis spans the middle 98 % of the raw points and everything that is smoothed or validated; single points
    beyond it are drawn at its edge.

    Args:
        points: one at least, in the order of their steps. All numbers must be finite.
        checkpoints: steps after which one was written: ticks at the foot.
        steps_per_second: for the title, if it is known; beside it stands the last smoothed loss.
        width: of the picture in pixels; its letters stay readable at half of it.
        height: the same.

    Raises:
        ValueError: there is no point.
    """
    if not points:
        raise ValueError("a loss curve needs one point at least")
    chart = _Chart(points, width, height)
    chart.draw_frame(_title(points[-1].step, float(chart.smoothed[-1]), steps_per_second))
    chart.draw_checkpoints(checkpoints)
    chart.draw_lines()
    chart.draw_legend(checkpoints=bool(checkpoints))
    return chart.image.resize((width, height), Image.Resampling.LANCZOS)


class _Chart:
    """The picture while it is drawn, in pixels of the enlarged one."""

    def __init__(self, points: Sequence[LossPoint], width: int, height: int) -> None:
        self.unit = _SMOOTH * min(width / 1200, height / 480)
        self.image = Image.new("RGB", (width * _SMOOTH, height * _SMOOTH), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.left, self.right = self.units(104), self.image.width - self.units(124)
        self.top, self.bottom = self.units(104), self.image.height - self.units(66)
        self.steps = np.array([point.step for point in points], dtype=np.float64)
        self.loss = np.array([point.loss for point in points], dtype=np.float64)
        self.rate = np.array([point.learning_rate for point in points], dtype=np.float64)
        self.smoothed = smooth(self.loss)
        measured = [(point.step, point.validation_loss) for point in points if point.validation_loss is not None]
        self.validation = np.array(measured, dtype=np.float64).reshape(-1, 2)
        self.x = _exact_axis(self.steps.min(), self.steps.max())
        usual = np.concatenate([np.percentile(self.loss, (1, 99)), self.smoothed, self.validation[:, 1]])
        self.y = round_axis(float(usual.min()), float(usual.max()))
        self.y_rate = round_axis(0.0, float(self.rate.max()) or 1.0)

    def units(self, count: float) -> int:
        """Pixels of the finished picture, were it 1200 wide, as pixels here."""
        return round(count * self.unit)

    def places(self, steps: _Values, values: _Values, axis: _Axis) -> list[tuple[float, float]]:
        """Where points lie."""
        across = self.left + self.x.share(steps) * (self.right - self.left)
        up = self.bottom - axis.share(values) * (self.bottom - self.top)
        return list(zip(across.tolist(), up.tolist(), strict=True))

    def write(
        self, text: str, place: tuple[float, float], anchor: str, colour: Colour = INK, weight: Weight = "regular"
    ) -> None:
        """Text at a place, by Pillow's anchors."""
        self.draw.text(place, text, fill=colour, font=get_font(weight, self.units(22)), anchor=anchor)

    def draw_frame(self, title: str) -> None:
        """Title, grid lines and the numbers of all three axes."""
        font = get_font("bold", self.units(27))
        self.draw.text((self.left, self.units(34)), title, fill=INK, font=font, anchor="lm")
        gap = self.units(12)
        for tick in self.y.ticks:
            ((_, y),) = self.places(self.steps[:1], np.array([tick]), self.y)
            self.draw.line((self.left, y, self.right, y), fill=RULE, width=self.units(1))
            self.write(show_number(tick), (self.left - gap, y), "rm")
        for tick in self.y_rate.ticks:
            ((_, y),) = self.places(self.steps[:1], np.array([tick]), self.y_rate)
            self.draw.line((self.right, y, self.right + self.units(6), y), fill=_STEPPE, width=self.units(2))
            self.write(show_number(tick), (self.right + gap, y), "lm", _STEPPE)
        for tick in self.x.ticks:
            ((x, _),) = self.places(np.array([tick]), self.loss[:1], self.y)
            self.write(show_number(tick), (x, self.bottom + self.units(12)), "mt")
        self.draw.line((self.left, self.bottom, self.right, self.bottom), fill=INK, width=self.units(2))
        self.write("step", (self.left - gap, self.bottom + self.units(12)), "rt", GREY)

    def draw_checkpoints(self, steps: Sequence[int]) -> None:
        """A tick at the foot for each checkpoint of the steps that are shown."""
        shown = np.array([step for step in steps if self.x.low <= step <= self.x.high], dtype=np.float64)
        for x, _ in self.places(shown, np.zeros(len(shown)), self.y):
            self.draw.line((x, self.bottom - self.units(14), x, self.bottom), fill=INK, width=self.units(4))

    def draw_lines(self) -> None:
        """The points and the lines, the most important on top."""
        shown = _thin(len(self.steps), MOST_POINTS)
        for place in self.places(self.steps[shown], self.loss[shown], self.y):
            self.draw_dot(place, 2.2, _FAINT)
        shown = _thin(len(self.steps), 2 * self.image.width)
        self.draw_line(self.places(self.steps[shown], self.rate[shown], self.y_rate), 1.6, _STEPPE)
        self.draw_line(self.places(self.steps[shown], self.smoothed[shown], self.y), 3.6, CLAY)
        for place in self.places(self.validation[:, 0], self.validation[:, 1], self.y):
            self.draw_dot(place, 6.5, _LEAF)

    def draw_line(self, places: list[tuple[float, float]], thickness: float, colour: Colour) -> None:
        """A line through all places; a single place is a dot."""
        if len(places) == 1:
            self.draw_dot(places[0], 1.6 * thickness, colour)
        else:
            self.draw.line(places, fill=colour, width=self.units(thickness), joint="curve")

    def draw_dot(self, place: tuple[float, float], radius: float, colour: Colour) -> None:
        """A filled circle."""
        self.draw.circle(place, radius * self.unit, fill=colour)

    def draw_legend(self, *, checkpoints: bool) -> None:
        """What is what, in a line under the title."""
        entries = [("loss, smoothed", CLAY, "line"), ("each step", _FAINT, "dot")]
        entries += [("validation loss", _LEAF, "dot")] * bool(len(self.validation))
        entries += [("learning rate", _STEPPE, "line"), *[("checkpoint", INK, "tick")] * checkpoints]
        x, y, font = float(self.left), self.units(74), get_font("regular", self.units(22))
        for words, colour, shape in entries:
            middle = x + self.units(10)
            wide, high = (self.units(10), self.units(2)) if shape == "line" else (self.units(2), self.units(8))
            if shape == "dot":
                self.draw_dot((middle, y), 6.5, colour)
            else:
                self.draw.rectangle((middle - wide, y - high, middle + wide, y + high), fill=colour)
            self.write(words, (x + self.units(28), y), "lm")
            x += self.units(28) + font.getlength(words) + self.units(26)


def smooth(values: _Values) -> _Values:
    """Running mean over a twentieth of the values, half of it on each side; at the ends over what there is."""
    count = len(values)
    reach, places = max(1, count // 40), np.arange(count)
    first, after = np.maximum(places - reach, 0), np.minimum(places + reach + 1, count)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    smoothed: _Values = (sums[after] - sums[first]) / (after - first)
    return smoothed


def round_axis(low: float, high: float) -> _Axis:
    """An axis with round ends that holds both values."""
    step = _round_step(low, high)
    ends = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    first, last = ends if ends[0] < ends[1] else (ends[0] - 1, ends[1] + 1)
    return _Axis(first * step, last * step, [number * step for number in range(first, last + 1)])


def _exact_axis(low: float, high: float) -> _Axis:
    """An axis that ends where its whole numbers do, with round ticks in it."""
    if low == high:
        return _Axis(low - 1, high + 1, [low])
    step = max(1.0, _round_step(low, high))
    return _Axis(low, high, [tick * step for tick in range(math.ceil(low / step), math.floor(high / step) + 1)])


def _round_step(low: float, high: float) -> float:
    """1, 2 or 5 times a power of ten, that gives about `_TICKS` ticks."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / _TICKS))
    return next(step * power for step in (1, 2, 5, 10) if span / (step * power) <= _TICKS + 1e-9)


def show_number(value: float) -> str:
    """A tick's number: 0.15, 2500, 1e-4."""
    if value and not 1e-3 <= abs(value) < 1e6:
        digits, _, exponent = f"{value:.1e}".partition("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.6g}" if abs(value) < 1000 else f"{value:.0f}"


def _thin(count: int, most: int) -> NDArray[np.intp]:
    """Places of at most `most` of so many values, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def _title(step: int, loss: float, steps_per_second: float | None) -> str:
    speed = "" if steps_per_second is None else f", {steps_per_second:.3g} steps/s"
    return f"Step {step}: loss {loss:.4g}{speed}"


def curve_markdown(image: Image.Image, title: str) -> str:
    """The picture as markdown that carries it, as PNG or JPEG, whichever is smaller.

    Args:
        image: what `loss_curve` drew.
        title: for those who do not see it; must hold no brackets.
    """
    files: dict[str, bytes] = {}
    for kind in ("png", "jpeg"):
        buffer = io.BytesIO()
        image.save(buffer, kind.upper(), quality=85, optimize=True)
        files[kind] = buffer.getvalue()
    kind = min(files, key=lambda name: len(files[name]))
    return f"![{title}](data:image/{kind};base64,{base64.b64encode(files[kind]).decode('ascii')})\n"
