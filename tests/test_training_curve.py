"""The loss curve shows every kind of number that a training tells, at any length."""

from __future__ import annotations

import base64
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from models.lora.records import Checkpoint, Losses
from models.lora.training.curve import draw_losses, loss_curve, smooth
from models.lora.training.pages import curve_page


def losses(count: int, *, validated: bool = False) -> Losses:
    """A loss that falls from 0.5 to 0.1, and a learning rate that falls in a line."""
    steps = tuple(range(1, count + 1))
    return Losses(
        steps=steps,
        loss=tuple(0.1 + 0.4 * math.exp(-4 * step / count) + 0.02 * (-1) ** step for step in steps),
        learning_rate=tuple(1e-4 * (1 - step / count) for step in steps),
        validation=dict.fromkeys(steps[:: max(1, count // 5)], 0.3) if validated else {},
    )


def lines(told: Losses, checkpoints: tuple[int, ...] = ()) -> tuple[Axes, Axes, dict[str, np.ndarray]]:
    """Both axes of the figure, and all that is drawn on them: points by the words of the legend."""
    figure = draw_losses(told, checkpoints, 2.5)
    figure.draw_without_rendering()
    loss, rate = figure.axes
    return (
        loss,
        rate,
        {str(line.get_label()): np.asarray(line.get_xydata()) for axes in (loss, rate) for line in axes.lines},
    )


@pytest.mark.parametrize("count", [1, 2, 7, 1000, 100_000])
def test_any_length_is_drawn_at_one_size(count: int) -> None:
    with Image.open(io.BytesIO(loss_curve(losses(count, validated=True), [1, count], 2.5))) as picture:
        assert (picture.format, picture.size) == ("PNG", (1200, 480))
        assert len(picture.convert("RGB").getcolors(2**24) or ()) > 20


def test_every_kind_of_number_has_a_line_and_a_word() -> None:
    told = losses(100, validated=True)
    _, _, shown = lines(told, (50, 100))
    usual = slice(2, 98)  # the highest and the lowest are drawn at the edge
    assert shown["each step"][usual] == pytest.approx(np.array([told.steps, told.loss]).T[usual])
    assert shown["loss, smoothed"] == pytest.approx(np.array([told.steps, smooth(told.loss)]).T)
    assert shown["validation loss"] == pytest.approx(np.array([*told.validation.items()]))
    assert shown["learning rate"] == pytest.approx(np.array([told.steps, told.learning_rate]).T)
    assert list(shown["checkpoint"][:, 0]) == [50, 100]
    (legend,) = draw_losses(told, (50, 100), 2.5).legends
    assert {text.get_text() for text in legend.get_texts()} == set(shown)
    assert re.fullmatch(r"Step 100: loss 0\.1\d+, 2\.5 steps/s", legend.get_title().get_text())


def test_validation_and_checkpoints_show_only_where_there_are_any() -> None:
    assert set(lines(losses(100))[2]) == {"each step", "loss, smoothed", "learning rate"}


def test_the_learning_rate_has_its_own_axis_from_nought() -> None:
    loss, rate, _ = lines(losses(500))
    assert rate.get_ylim()[0] == 0
    assert rate.get_ylim()[1] < 1e-3 < loss.get_ylim()[1]


def test_a_single_spike_does_not_flatten_the_rest() -> None:
    told = losses(500)
    axes, _, shown = lines(told.model_copy(update={"loss": (*told.loss[:250], 10.0, *told.loss[251:])}))
    assert axes.get_ylim()[1] < 0.7
    assert shown["each step"].max(axis=0)[1] < 0.7  # it is drawn at the edge


def test_a_long_training_has_fewer_points_and_the_whole_line() -> None:
    shown = lines(losses(10_000))[2]
    assert 1000 < len(shown["each step"]) <= 1500
    assert len(shown["loss, smoothed"]) == 10_000


def test_checkpoints_beyond_the_steps_do_not_widen_the_picture() -> None:
    assert lines(losses(10), (5, 500))[0].get_xlim() == (0.5, 10.5)


def test_steps_are_whole_numbers() -> None:
    for count in (1, 2, 3):
        ticks = lines(losses(count))[0].get_xticks()
        assert len(ticks)
        assert all(float(tick).is_integer() for tick in ticks)


def test_a_loss_that_never_moves_and_huge_ones_are_drawn() -> None:
    for loss in (0.0, 0.25, 1e30):
        assert loss_curve(Losses(steps=(1, 2, 3), loss=(loss,) * 3, learning_rate=(0.0,) * 3, validation={}))


def test_a_style_of_this_machine_changes_nothing() -> None:
    import matplotlib

    plain = loss_curve(losses(20))
    with matplotlib.rc_context({"figure.dpi": 30, "axes.facecolor": "black", "text.usetex": True}):
        assert loss_curve(losses(20)) == plain
        assert matplotlib.rcParams["axes.facecolor"] == "black"


def test_no_step_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="one step"):
        loss_curve(Losses(steps=(), loss=(), learning_rate=(), validation={}))


def test_smoothing_keeps_the_level_and_does_not_lag() -> None:
    assert smooth((0.3,) * 100) == pytest.approx(np.full(100, 0.3))
    line = np.arange(400.0)
    assert smooth(tuple(line))[10:-10] == pytest.approx(line[10:-10])
    assert smooth((5.0,)) == pytest.approx([5.0])


def test_the_page_says_the_speed_in_words_and_in_the_picture(tmp_path: Path) -> None:
    losses = Losses(steps=(1, 2), loss=(0.5, 0.4), learning_rate=(1e-4, 1e-4), validation={2: 0.45})
    checkpoint = Checkpoint(path=str(tmp_path / "checkpoint-2"), step=2, loss=0.45)
    fast, slow, unknown = (curve_page(losses, checkpoint, seconds) for seconds in (0.25, 2.5, None))
    assert fast.startswith("![Loss up to step 2, 4 steps per second](data:image/")
    assert slow.startswith("![Loss up to step 2, 0.4 steps per second](data:image/")
    assert unknown.startswith("![Loss up to step 2](data:image/")
    with Image.open(io.BytesIO(base64.b64decode(fast.partition("base64,")[2].removesuffix(")\n")))) as carried:
        assert carried.size == (1200, 480)
    assert len({page.partition("](")[2] for page in (fast, slow, unknown)}) == 3
