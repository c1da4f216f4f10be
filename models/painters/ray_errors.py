"""Which of Ray's errors say that a painter, or the way to it, is gone."""

from __future__ import annotations

from models.errors import PaintersUnreachable


def is_loss(error: BaseException) -> bool:
    """Whether the error says that a painter, or the way to it, is gone; another painter may answer."""
    from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError
    from ray.serve.exceptions import RayServeException

    if isinstance(error, PaintersUnreachable | RayActorError | RayServeException | ConnectionError):
        return True
    return isinstance(error, RayError) and not isinstance(error, RayTaskError | TaskCancelledError)
