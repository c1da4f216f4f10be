"""Groups of a storyboard's options, for its form and --help."""

from __future__ import annotations

from typing import Annotated

from models.forms.form import Form, Group
from models.settings import StoryboardOptions

GROUPS = (
    Group(
        "what is made",
        ("profile", "frames", "seed", "writer", "review", "export", "lora_path", "output_dir"),
    ),
    Group("the language model that writes", ("writer_model", "temperature"), "writing"),
    Group(
        "the pictures",
        ("aspect", "width", "height", "lora_scale", "more_loras", "steps", "guidance", "refresh"),
        "painting",
    ),
    Group("which frames are accepted", ("threshold", "prompt_threshold", "attempts"), "gate"),
    Group("what guides the frames", ("pipeline", "control_scale", "control_end", "sketches"), "control"),
    Group("models in place of the profile's", ("base", "controlnet", "vae", "clip"), "models"),
    Group(
        "the machine",
        (
            "device",
            "precision",
            "batch_size",
            "low_memory",
            "speed",
            "turbo_lora",
            "turbo_method",
            "painters",
            "queue",
        ),
        "machine",
    ),
)
"""All options in display order."""

FORM = Form(StoryboardOptions, GROUPS)
StoryboardForm = Annotated[StoryboardOptions, FORM]
"""A flow's parameter: the options in groups, as forms send them, or without groups."""
