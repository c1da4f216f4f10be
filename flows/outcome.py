"""How a run shows itself in the dashboard's lists: under the name that a person gave it, and ended in words."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, cast

from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from models.errors import RunStopped, StoryboardError

GENERATED = re.compile(r"[A-Za-z]+[0-9]*(-[A-Za-z]+[0-9]*){1,2}")
"""A run's name by Prefect or by a form of its UIs: bold-otter, rho92-alnasl-mass, Small-Hyena. One typed like this is
taken for one too."""


def run_name(made: str) -> str:
    """The name that was typed for the run, or `made` where nobody typed one."""
    typed = str(flow_run.name or "")
    return made if not typed or GENERATED.fullmatch(typed) else typed


def completed(result: str, message: str) -> str:
    """A flow's result, with a word about it in the run's state. Prefect takes the state for the result in it."""
    return cast(str, Completed(data=result, message=message))


Parameters = ParamSpec("Parameters")


def failing_in_words(run: Callable[Parameters, str]) -> Callable[Parameters, str]:
    """Give a failed run's state the error's own line. Prefect's begins "Flow run encountered an exception"."""

    @wraps(run)
    def told(*args: Parameters.args, **kwargs: Parameters.kwargs) -> str:
        try:
            return run(*args, **kwargs)
        except RunStopped:
            raise  # the server has ended the run already, in words of its own
        except StoryboardError as error:
            return cast(str, Failed(data=error, message=str(error)))

    # Prefect would look the annotations' names up in this module.
    told.__signature__ = inspect.signature(run, eval_str=True)  # type: ignore[attr-defined]
    return told
