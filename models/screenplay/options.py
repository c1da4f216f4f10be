"""The options of a storyboard from a screenplay."""

from __future__ import annotations

from collections.abc import Callable

from models.errors import InputError
from models.settings import StoryboardOptions, with_environment

DECIDED = ("frames", "writer", "writer_model", "temperature")
"""Options that the screenplay decides."""


def options_for(
    given: StoryboardOptions, frames: int | None = None, called: Callable[[str], str] = str
) -> StoryboardOptions:
    """Return the options with those of the environment, and without a language model.

    Args:
        given: the explicit options.
        frames: how many the screenplay has; None: not known yet.
        called: maps an option to the name to show, such as "--frames".

    Raises:
        InputError: an explicit option is one that the screenplay decides; or see `with_environment`.
    """
    asked = given.model_dump(exclude_unset=True, exclude_none=True)
    decided = next((name for name in DECIDED if name in asked), None)
    if decided is not None:
        raise InputError(
            f"{called(decided)}: the screenplay says how many frames there are and what is in them; leave it out"
        )
    changes = {"writer": "offline", **({} if frames is None else {"frames": frames})}
    return StoryboardOptions.model_validate(with_environment(given).model_dump() | changes)
