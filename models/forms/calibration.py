"""Groups of a calibration's options, for its form and --help."""

from __future__ import annotations

from typing import Annotated

from models.calibration.options import CalibrationOptions
from models.forms.form import Form, Group

GROUPS = (Group("what he is compared with", ("others",)), Group("who he is", ("lora_path", "profile", "device")))
"""All options in display order."""

FORM = Form(CalibrationOptions, GROUPS)
CalibrationForm = Annotated[CalibrationOptions, FORM]
"""A flow's parameter: the options as forms send them."""
