"""Groups of a redo's options, for its form and --help."""

from __future__ import annotations

from typing import Annotated

from models.forms.form import Form, Group
from models.redo.plan import RedoOptions

GROUPS = (
    Group("the changes", ("prompt", "scene", "seed", "sketch")),
    Group("how it is painted", ("attempts", "device"), "painting"),
)
"""All options in display order."""

FORM = Form(RedoOptions, GROUPS)
RedoForm = Annotated[RedoOptions, FORM]
"""A flow's parameter: the options in groups, as forms send them, or without groups."""
