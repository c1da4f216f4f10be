"""Groups of the options with which an edited board is made again, for its form."""

from __future__ import annotations

from typing import Annotated

from models.forms.form import Form, Group
from models.settings import StoryboardOptions

GROUPS = (
    Group("what is made", ("review", "output_dir", "attempts", "refresh")),
    Group("the machine", ("device", "precision", "batch_size", "low_memory", "painters", "queue"), "machine"),
)
"""The options that do not say how the pictures look, in display order."""

FORM = Form(StoryboardOptions, GROUPS)
EditForm = Annotated[StoryboardOptions, FORM]
"""A flow's parameter: the options in groups, as forms send them, or without groups."""
