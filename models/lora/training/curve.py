"""The loss over the steps, drawn by matplotlib.

`Figure` is used without `pyplot`, which keeps every figure in a list of the process and looks for a window system.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.lora.records import Losses

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Values = NDArray[np.floating[Any]]

_MOST_POINTS = 1500
"""Raw points that are drawn; more are thinned evenly. The smoothed line is made of all of them."""
_PAPER, _INK, _GRID = "#faf6ed", "#2e2722", "#e5dccb"
_CLAY, _FAINT, _LEAF, _STEPPE = "#b04628", "#e2beac", "#607a34", "#3a6e78"
_STYLE = {
    "figure.facecolor": _PAPER,
    "figure.constrained_layout.use": True,
    "text.color": _INK,
    "axes.facecolor": _PAPER,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _GRID,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}
"""Set on top of matplotlib's own defaults, so that a matplotlibrc on this machine changes nothing."""


def loss_curve(losses: Losses, checkpoints: Sequence[int] = (), steps_per_second: float | None = None) -> bytes:
    """The figure of `draw_losses` as a PNG of 1200x480 pixels; its letters stay readable at half of that."""
    from matplotlib import style

    file = io.BytesIO()
    with style.context(["default", _STYLE]):
        draw_losses(losses, checkpoints, steps_per_second).savefig(file, format="png")
    return file.getvalue()


def draw_losses(losses: Losses, checkpoints: Sequence[int], steps_per_second: float | None) -> Figure:
    """Loss, smoothed loss, validation loss and learning rate over the steps.

    The loss axis spans the middle 98 % of the raw points and everything that is smoothed or validated; single points
    beyond it are drawn at its edge.

    Args:
        losses: of one step at least. All numbers must be finite.
        checkpoints: steps after which one was written: ticks at the foot.
        steps_per_second: for the title, if it is known; beside it stands the last smoothed loss.

    Raises:
        ValueError: there is no step.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not losses.steps:
        raise ValueError("a loss curve needs one step at least")
    steps, smoothed = losses.steps, smooth(losses.loss)
    line = "-" if len(steps) > 1 else "o"
    figure = Figure(figsize=(8, 3.2), dpi=150)
    axes = figure.subplots()
    axes.set_xlim(steps[0] - 0.5, steps[-1] + 0.5)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _draw_points(axes, losses, smoothed)
    axes.plot(steps, smoothed, line, color=_CLAY, linewidth=2, label="loss, smoothed")
    _draw_validation(axes, losses.validation)
    _draw_checkpoints(axes, checkpoints)

    rates = axes.twinx()
    rates.plot(steps, losses.learning_rate, line, color=_STEPPE, linewidth=1, label="learning rate")
    rates.set_ylim(bottom=0)
    rates.tick_params(colors=_STEPPE)
    rates.grid(visible=False)

    speed = "" if steps_per_second is None else f", {steps_per_second:.3g} steps/s"
    title, bold = f"Step {steps[-1]}: loss {smoothed[-1]:.4g}{speed}", {"weight": "bold", "size": 12}
    layout = {"ncols": 5, "markerscale": 1.5, "alignment": "left"}
    figure.legend(loc="outside upper left", title=title, title_fontproperties=bold, **layout)
    return figure


def _draw_points(axes: Axes, losses: Losses, smoothed: _Values) -> None:
    """The loss of each step; what lies beyond the usual is drawn at the edge."""
    loss = np.array(losses.loss)
    usual = np.concatenate([np.percentile(loss, (1, 99)), smoothed, list(losses.validation.values())])
    shown = slice(None, None, 1 + len(loss) // _MOST_POINTS)
    points = loss.clip(usual.min(), usual.max())
    axes.plot(losses.steps[shown], points[shown], "o", color=_FAINT, markersize=2, label="each step")


def _draw_validation(axes: Axes, losses: Mapping[int, float]) -> None:
    if losses:
        measured = list(losses), list(losses.values())
        axes.plot(*measured, "o", color=_LEAF, markersize=5, clip_on=False, label="validation loss")


def _draw_checkpoints(axes: Axes, steps: Sequence[int]) -> None:
    if steps:
        height = [0.03] * len(steps)  # as a share of the axis
        axes.plot(
            steps,
            height,
            "|",
            transform=axes.get_xaxis_transform(),
            color=_INK,
            markersize=6,
            markeredgewidth=2,
            label="checkpoint",
        )


def smooth(values: Sequence[float]) -> _Values:
    """Running mean over a twentieth of the values, half of it on each side; at the ends over what there is."""
    reach = max(1, len(values) // 40)
    window = np.ones(2 * reach + 1)
    sums, counts = (np.convolve(each, window)[reach:-reach] for each in (values, np.ones(len(values))))
    smoothed: _Values = sums / counts
    return smoothed
