"""Paint in the memory there is: where it runs out, in smaller batches, and then with less kept on the device.

What was found to fit is kept for the process, so that it is looked for once, and said once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from models.diffusion.requests import PainterSetup, PaintRequest
from models.diffusion.weights import give_memory_back
from models.errors import OutOfMemory
from models.progress import Progress, StageProgress

if TYPE_CHECKING:
    from models.diffusion.painter import Finished, Painting

logger = logging.getLogger("models.diffusion")

_FITTING: dict[tuple[PainterSetup, int], PainterSetup] = {}
"""A setup without its adapters, which change no memory, and the pictures' size -> what fits since memory ran out."""


def paint_fitting(
    setup: PainterSetup,
    requests: Sequence[PaintRequest],
    progress: Progress | None = None,
    finished: Finished | None = None,
    loading: StageProgress | None = None,
) -> list[Painting]:
    """Load what the setup names and paint the requests, in one batch if memory allows.

    Args:
        setup: which models.
        requests: at least one; they share their `batch_key`.
        progress, finished: as `models.diffusion.painter.paint` has them.
        loading: called as `models.diffusion.loading.load` calls it.

    Returns:
        One painting a request, in order.

    Raises:
        OutOfMemory: one picture does not fit in the least memory either; another try would be the same.
        StoryboardError: see `load` and `paint`.
    """
    painted: dict[int, Painting] = {}
    while len(painted) < len(requests):
        fitting, before = _fitting(setup, requests[0].size), len(painted)
        batch = [number for number in range(len(requests)) if number not in painted][: fitting.batch_size]

        def report(share: float, before: int = before, count: int = len(batch)) -> None:
            if progress is not None:
                progress((before + share * count) / len(requests))

        def keep(place: int, painting: Painting, batch: list[int] = batch) -> None:
            painted[batch[place]] = painting
            if finished is not None:
                finished(batch[place], painting)

        lack = _try(fitting, [requests[number] for number in batch], report, keep, loading)
        if lack is not None:
            _FITTING[_key(setup, requests[0].size)] = _with_less(fitting, lack)
    return [painted[number] for number in range(len(requests))]


def _key(setup: PainterSetup, size: int) -> tuple[PainterSetup, int]:
    return setup.model_copy(update={"adapter": None, "more_adapters": ()}), size


def _fitting(setup: PainterSetup, size: int) -> PainterSetup:
    """The setup, with as much less as was found to be needed."""
    found = _FITTING.get(_key(setup, size), setup)
    return setup.model_copy(update={"batch_size": found.batch_size, "low_memory": found.low_memory})


class _Lack(NamedTuple):
    """That memory ran out, without the calls that led to it: they hold what is to be given back."""

    message: str
    pictures: int
    """In the batch; 0 while loading."""


def _try(
    setup: PainterSetup,
    requests: list[PaintRequest],
    report: Progress,
    keep: Finished,
    loading: StageProgress | None,
) -> _Lack | None:
    from models.diffusion.loading import load
    from models.diffusion.painter import paint

    pictures = 0
    try:
        models = load(setup, loading)
        pictures = len(requests)
        logger.info("painting %d frame(s) of %d px", pictures, requests[0].size)
        paint(models, requests, report, keep)
    except OutOfMemory as error:
        return _Lack(str(error), pictures)
    return None


def _with_less(setup: PainterSetup, lack: _Lack) -> PainterSetup:
    """The same in less memory.

    Raises:
        OutOfMemory: there is nothing left to spare.
    """
    if lack.pictures > 1:
        less = setup.model_copy(update={"batch_size": lack.pictures // 2})
        what = f"batches of {less.batch_size}"
    elif not setup.low_memory and setup.device.partition(":")[0] != "cpu":
        less = setup.model_copy(update={"low_memory": True})
        what = "low_memory"
    else:
        raise OutOfMemory(lack.message, retryable=False)
    logger.warning("%s; going on with %s", lack.message.partition(";")[0], what)
    give_memory_back()
    return less
