"""When a training no longer learns but runs away."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

DIVERGED = 3.0
"""Mean loss of the last updates above which a training has diverged: a model that predicts nothing has 1."""
RECENT = 10
"""Updates that the mean is taken over."""
MOST_SKIPPED = 20
"""Updates in a row that may be skipped because fp16 overflowed; a scaler needs some to find its scale."""


@dataclass
class Watch:
    """Looks at each update's loss."""

    recent: list[float] = field(default_factory=list)
    skipped: int = 0

    def fault(self, loss: float, *, skipped: bool) -> str | None:
        """What is wrong after this update, in words for a message; None while all is well.

        Args:
            loss: of this update.
            skipped: whether the optimizer was not asked, because gradients overflowed.
        """
        self.skipped = self.skipped + 1 if skipped else 0
        self.recent = [*self.recent[1 - RECENT :], loss]
        mean = sum(self.recent) / len(self.recent)
        if not math.isfinite(loss):
            return "the loss is not a finite number"
        if len(self.recent) == RECENT and mean > DIVERGED:
            return f"the loss is {mean:.1f}, and that of a model that learnt nothing is 1"
        if self.skipped > MOST_SKIPPED:
            return f"{self.skipped} updates in a row overflowed"
        return None
