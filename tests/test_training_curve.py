"""The loss curve shows every kind of number that a training tells, at any length."""

from __future__ import annotations

import base64
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.lora.records import Checkpoint, Losses
from models.lora.training.curve import LossPoint, curve_markdown, loss_curve, round_axis, show_number, smooth
from models.lora.training.pages import curve_page

PAPER, CLAY, STEPPE, LEAF, INK = (250, 246, 237), (176, 70, 40), (58, 110, 120), (96, 122, 52), (46, 39, 34)


def points(count: int, *, validated: bool = False) -> list[LossPoint]:
    """A loss that falls from 0.5 to 0.1, and a learning rate that falls in a line."""
    return [
        LossPoint(
            step=step,
            loss=0.1 + 0.4 * math.exp(-4 * step / count) + 0.02 * (-1) ** step,
            learning_rate=1e-4 * (1 - step / count),
            validation_loss=0.3 if validated and step % max(1, count // 5) == 0 else None,
        )
        for step in range(1, count + 1)
    ]


INSIDE, WITH_EDGES = (110, 110, 1070, 412), (90, 90, 1090, 425)


def where(
    image: Image.Image, colour: tuple[int, int, int], box: tuple[int, int, int, int] = INSIDE
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of a colour within the chart itself."""
    chart = np.asarray(image.crop(box), int)
    return np.nonzero(np.abs(chart - colour).max(axis=-1) < 12)  # type: ignore[return-value]


@pytest.mark.parametrize("count", [1, 2, 7, 1000, 100_000])
def test_any_length_is_drawn(count: int) -> None:
    image = loss_curve(points(count, validated=True), checkpoints=range(1, count + 1, max(1, count // 4)))
    assert image.size == (1200, 480)
    for colour in (CLAY, LEAF):
        assert len(where(image, colour, WITH_EDGES)[0]) > 20


def test_the_line_goes_where_the_loss_goes() -> None:
    rows, columns = where(loss_curve(points(500)), CLAY)
    early, late = rows[columns < 100].mean(), rows[columns > 860].mean()
    assert late - early > 150  # rows are counted from the top


def test_the_learning_rate_has_its_own_axis() -> None:
    flat = [LossPoint(point.step, 0.2, point.learning_rate) for point in points(500)]
    rows, columns = where(loss_curve(flat), STEPPE)
    assert rows[columns < 60].mean() < 40
    assert rows[columns > 900].mean() > 260


def test_validation_and_checkpoints_show_only_where_there_are_any() -> None:
    without, with_them = loss_curve(points(100)), loss_curve(points(100, validated=True), checkpoints=[50, 100])
    assert len(where(without, LEAF)[0]) == 0
    assert len(where(without, INK)[0]) == 0
    rows, columns = where(with_them, INK)
    assert rows.min() > 280
    assert abs(float(np.median(columns)) - 480) < 12  # step 50 of 100; the other is at the chart's edge


def test_a_single_spike_does_not_flatten_the_rest() -> None:
    spiked = points(500)
    spiked[250] = LossPoint(251, 1e6, 1e-4)
    rows, _ = where(loss_curve(spiked), CLAY)
    assert rows.max() - rows.min() > 40


def test_a_loss_that_never_moves_and_huge_ones_are_drawn() -> None:
    for loss in (0.0, 0.25, 1e30):
        assert loss_curve([LossPoint(step, loss, 0.0) for step in (1, 2, 3)]).size == (1200, 480)


def test_another_size_is_drawn_at_that_size() -> None:
    assert loss_curve(points(50), width=600, height=300, steps_per_second=2.5).size == (600, 300)


def test_no_point_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="one point"):
        loss_curve([])


def test_smoothing_keeps_the_level_and_does_not_lag() -> None:
    assert smooth(np.full(100, 0.3)) == pytest.approx(np.full(100, 0.3))
    line = np.arange(400.0)
    assert smooth(line)[10:-10] == pytest.approx(line[10:-10])
    assert smooth(np.array([5.0])) == pytest.approx([5.0])


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1e-4, [0, 2e-5, 4e-5, 6e-5, 8e-5, 1e-4]),
        (0.07, 0.23, [0.05, 0.1, 0.15, 0.2, 0.25]),
        (0.2, 0.2, [0.15, 0.2, 0.25]),
        (-3, 7, [-4, -2, 0, 2, 4, 6, 8]),
    ],
)
def test_axes_end_on_round_numbers_that_hold_the_values(low: float, high: float, ticks: list[float]) -> None:
    axis = round_axis(low, high)
    assert axis.ticks == pytest.approx(ticks)
    assert (axis.low, axis.high) == pytest.approx((ticks[0], ticks[-1]))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.15000000000000002, "0.15"), (2500, "2500"), (1e-4, "1e-4"), (2.5e-5, "2.5e-5"), (-0.2, "-0.2")],
)
def test_numbers_are_short(value: float, shown: str) -> None:
    assert show_number(value) == shown


def test_the_markdown_carries_the_smaller_file() -> None:
    image = loss_curve(points(300))
    found = re.fullmatch(
        r"!\[Loss\]\(data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)\)\n", curve_markdown(image, "Loss")
    )
    assert found
    data = base64.b64decode(found[2])
    with Image.open(io.BytesIO(data)) as carried:
        assert carried.format == found[1].upper()
        assert carried.size == image.size
    flat = curve_markdown(Image.new("RGB", (400, 300), PAPER), "x")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    assert flat.startswith("![x](data:image/png")
    assert curve_markdown(noise, "x").startswith("![x](data:image/jpeg")


def test_the_page_says_the_speed_in_words_and_in_the_picture(tmp_path: Path) -> None:
    losses = Losses(steps=(1, 2), loss=(0.5, 0.4), learning_rate=(1e-4, 1e-4), validation={2: 0.45})
    checkpoint = Checkpoint(path=str(tmp_path / "checkpoint-2"), step=2, loss=0.45)
    fast, slow, unknown = (curve_page(losses, checkpoint, seconds) for seconds in (0.25, 2.5, None))
    assert fast.startswith("![Loss up to step 2, 4 steps per second](data:image/")
    assert slow.startswith("![Loss up to step 2, 0.4 steps per second](data:image/")
    assert unknown.startswith("![Loss up to step 2](data:image/")
    assert len({page.partition("](")[2] for page in (fast, slow, unknown)}) == 3
