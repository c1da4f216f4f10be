"""Groups of an export's options, for its form and --help."""

from __future__ import annotations

from typing import Annotated

from models.export.options import ExportOptions
from models.forms.form import Form, Group

GROUPS = (
    Group("what is made", ("forms", "order")),
    Group("the pages of the PDF", ("paper", "orientation", "panels_per_page"), "pages"),
    Group("films and timelines", ("fps", "captions", "moves"), "film"),
)
"""All options in display order."""

FORM = Form(ExportOptions, GROUPS)
ExportOptionsForm = Annotated[ExportOptions, FORM]
"""A flow's parameter: the options in groups, as forms send them, or without groups."""
