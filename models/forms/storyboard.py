"""Where people find each of a storyboard's options: in a form, and in --help."""

from __future__ import annotations

from typing import Annotated

from models.forms.form import Form, Group
from models.settings import StoryboardOptions

GROUPS = (
    Group(
        "what is made",
        ("profile", "frames", "seed", "writer", "review", "lora_path", "output_dir"),
    ),
    Group("the language model that writes", ("writer_model", "temperature"), "writing"),
    Group("the pictures", ("lora_scale", "more_loras", "size", "steps", "guidance", "refresh"), "painting"),
    Group("which frames are accepted", ("threshold", "prompt_threshold", "attempts"), "gate"),
    Group("what leads the frames", ("pipeline", "control_scale", "control_end", "sketches"), "control"),
    Group("models in place of the profile's", ("base", "controlnet", "vae", "clip"), "models"),
    Group("the machine", ("device", "precision", "batch_size", "low_memory", "speed"), "machine"),
)
"""Every option, in the order in which people look for them."""

FORM = Form(StoryboardOptions, GROUPS)
StoryboardForm = Annotated[StoryboardOptions, FORM]
"""What a flow takes: the options in groups, as forms send them, or by their own names."""
