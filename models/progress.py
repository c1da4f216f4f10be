"""How work tells its caller how far it is. What the caller raises stops the work and reaches the caller again."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float], None]
"""Called with the share that is done, 0..1."""
StageProgress = Callable[[str, float], None]
"""Called with what is being done, and the share of all that is done, 0..1."""
ByteProgress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes there will be."""
GoOn = Callable[[], None]
"""Called now and then by a caller that waits. What it raises ends the waiting."""
