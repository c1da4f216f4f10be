"""Ray's errors: which say that a painter, or the way to it, is gone, and how they are told in one line."""

from __future__ import annotations

from models.errors import PaintersUnreachable


def is_loss(error: BaseException) -> bool:
    """Whether the error says that a painter, or the way to it, is gone; another painter may answer."""
    from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError
    from ray.serve.exceptions import RayServeException

    if isinstance(error, PaintersUnreachable | RayActorError | RayServeException | ConnectionError):
        return True
    return isinstance(error, RayError) and not isinstance(error, RayTaskError | TaskCancelledError)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, at most 300 letters; its class if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
