"""What the dashboard shows of a training as it runs: lines, and the loss curve."""

from __future__ import annotations

from pathlib import Path

from models.board.markdown import inline_picture
from models.lora.records import Checkpoint, Losses
from models.lora.training import checkpoints
from models.lora.training.job import Tick

__all__ = ["curve_page", "tick_line"]


def tick_line(tick: Tick, updates: int) -> str:
    """One line of the log: how far, how well, how fast, how long still."""
    seconds = tick.seconds_a_step or 0.0
    speed = f"{1 / seconds:.2f} steps/s" if 0 < seconds < 1 else f"{seconds:.2f} s a step"
    left = _duration(seconds * (updates - tick.step))
    loss, rate = f"loss {tick.loss:.4f}", f"learning rate {tick.learning_rate:.2e}"
    return f"step {tick.step}/{updates}: {loss}, {rate}, {speed}, {left} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def curve_page(losses: Losses, checkpoint: Checkpoint, seconds_a_step: float | None) -> str:
    """The loss curve up to a checkpoint, as markdown that carries its picture.

    Args:
        losses: of all steps so far.
        checkpoint: the newest.
        seconds_a_step: as the training told it last; None before the first update.
    """
    from models.lora.training.curve import loss_curve

    speed = 1 / seconds_a_step if seconds_a_step else None
    steps = checkpoints.list_steps(Path(checkpoint.path).parent)
    said = "" if speed is None else f", {speed:.3g} steps per second"
    return f"{inline_picture(loss_curve(losses, steps, speed), 'png', f'Loss up to step {checkpoint.step}{said}')}\n"
