"""Detect a training that diverges, by comparing its loss with the loss that it began with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

DIVERGED = 4.0
"""A training has diverged if its loss is so many times the loss that it began with. A LoRA changes nothing at first, so
that loss is the bare base's on these pictures. A training that learns stays below it, and one that overfits stays below
twice that on other pictures."""
RECENT = 10
"""Updates that the mean is taken over."""
MOST_SKIPPED = 20
"""Updates in a row that may be skipped because fp16 overflowed; a scaler needs some to find its scale."""


@dataclass
class Watch:
    """Watches the loss of each update and each checkpoint.

    Args:
        start: mean loss of the bare base, as it is validated.
        more: factor by which the losses of updates are larger, because prior preservation adds a loss of its own.
    """

    start: float
    more: float = 1.0
    recent: list[float] = field(default_factory=list)
    skipped: int = 0

    def fault(self, loss: float, *, skipped: bool) -> str | None:
        """What is wrong after this update, in words for a message; None while all is well.

        Args:
            loss: of this update.
            skipped: whether the update was skipped, because gradients overflowed.
        """
        self.skipped = self.skipped + 1 if skipped else 0
        self.recent = [*self.recent[1 - RECENT :], loss]
        if len(self.recent) == RECENT and math.isfinite(loss):
            return self._risen(sum(self.recent) / RECENT, self.start * self.more) or self._stuck()
        return _not_finite(loss) or self._stuck()

    def fault_of_checkpoint(self, loss: float) -> str | None:
        """The same for a checkpoint, by its loss on the pictures that `start` is of."""
        return _not_finite(loss) or self._risen(loss, self.start)

    def _risen(self, loss: float, start: float) -> str | None:
        if loss <= DIVERGED * start:
            return None
        return f"the loss is {loss:.3g}, {loss / start:.0f} times the {start:.3g} that it began with"

    def _stuck(self) -> str | None:
        return f"{self.skipped} updates in a row overflowed" if self.skipped > MOST_SKIPPED else None


def _not_finite(loss: float) -> str | None:
    return None if math.isfinite(loss) else "the loss is not a finite number"


def remedy(rate: float, precision: str, fault: str) -> str:
    """What to change, as far as the fault shows it."""
    lower = f"lower learning_rate ({rate:g})"
    if precision == "fp16" and ("overflowed" in fault or "not a finite" in fault):
        return f"{lower}, or set mixed_precision to bf16 ({precision} now)"
    return lower
