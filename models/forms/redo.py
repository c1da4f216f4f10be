"""Where people find what they may change about a frame that is redone: in a form, and in --help."""

from __future__ import annotations

from typing import Annotated

from models.forms.form import Form, Group
from models.redo.plan import RedoOptions

GROUPS = (
    Group("what is to change", ("prompt", "seed", "sketch")),
    Group("how it is painted", ("attempts", "device"), "painting"),
)
"""Every option, in the order in which people look for them."""

FORM = Form(RedoOptions, GROUPS)
RedoForm = Annotated[RedoOptions, FORM]
"""What a flow takes: the options in groups, as forms send them, or by their own names."""
