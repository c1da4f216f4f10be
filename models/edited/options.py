"""The options with which an edited board may be made again."""

from __future__ import annotations

from collections.abc import Callable

from models.errors import InputError
from models.settings import StoryboardOptions

FREE = (
    "attempts",
    "batch_size",
    "device",
    "low_memory",
    "output_dir",
    "painters",
    "precision",
    "queue",
    "refresh",
    "review",
)
"""Options that do not say how the pictures look; the others are the board's."""


def refuse_foreign(wanted: StoryboardOptions, called: Callable[[str], str] = str) -> None:
    """Refuse an option that contradicts the board's own settings.

    Args:
        wanted: the given options.
        called: maps an option to the name to show, such as "--seed".

    Raises:
        InputError: names the option and those that are possible.
    """
    given = wanted.model_dump(exclude_unset=True, exclude_none=True)
    foreign = next((name for name in given if name not in FREE), None)
    if foreign is not None:
        raise InputError(
            f"{called(foreign)}: a board is made again with its own settings; leave it out, or make the storyboard "
            f"from its story. Possible are {', '.join(map(called, FREE))}"
        )
