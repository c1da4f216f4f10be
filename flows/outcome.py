"""How a run shows itself in the dashboard's lists: under the name that a person gave it, and ended in words."""

from __future__ import annotations

import re
from typing import cast

from prefect.runtime import flow_run
from prefect.states import Completed

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
