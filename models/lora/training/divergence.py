"""When a training no longer learns but runs away: judged against what this training began with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

DIVERGED = 4.0
"""A loss that is so many times what the training began with has run away. A LoRA begins as nothing, so that is the bare
base's own loss on these pictures; a training that learns lies under it, and one that learns its pictures by heart loses
less than twice of it on others."""
RECENT = 10
"""Updates that the mean is taken over."""
MOST_SKIPPED = 20
"""Updates in a row that may be skipped because fp16 overflowed; a scaler needs some to find its scale."""


@dataclass
class Watch:
    """Looks at each update's loss.

    Args:
        start: mean loss of the bare base, as it is validated.
        more: by how much more than that the losses of updates are, because of prior preservation: a factor.
    """

    start: float
    more: float = 1.0
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
