"""The command that trains a character; its last line is the place of publication.

Prefect is imported after the arguments are parsed, so that --help and errors appear at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from flows.commands.command import Command, option_name
from flows.commands.running import Run, run
from models.forms.form import NOTHING, Form, Group
from models.forms.training import FORM
from models.lora.configuration.accelerate_settings import read_accelerate_config
from models.lora.configuration.config_files import training_options
from models.lora.configuration.foreign_names import foreign_option
from models.lora.options import RENAMED, TrainingOptions
from models.secrets.keys import Keys


class ConfigOption(BaseModel):
    """The option that names the configuration file."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    config: str | None = None
    """YAML file of the options below, such as configs/training_config.yaml. Unset: no file."""


VALUES = {
    "base_model_name_or_path": "SOURCE",
    "pretrained_model_name_or_path": "SOURCE",
    "target_modules": "NAMES",
    "train_data_dir": "FOLDER",
    "caption_column": "NAME",
    "trigger": "WORD",
    "prior_data_dir": "FOLDER",
    "output_dir": "FOLDER",
    "resume_from_checkpoint": "NAME",
    "validation_prompts": "PROMPT",
    "unrelated_prompts": "PROMPT",
    "publish_to": "PLACE",
    "name": "NAME",
    "accelerate_config": "FILE",
    "config": "FILE",
    "device": "NAME",
}
"""Placeholders of values in the help."""

CLOSING = """\
The command line overrides the file of --config, and that the defaults. In the file
options are written with underscores: train_batch_size: 4. configs/training_config.yaml
explains each option, in sections.

none unsets an option: --max-train-steps none --num-train-epochs 20 makes 20 passes over
the pictures. Target modules are separated by commas: to_q,to_v; prompts are given by
repeating the option.

Logs go to stderr, the place of publication to stdout: python -m flows.storyboard takes
it as --lora-path. AWS keys are read only from the environment or .env. Exit codes: 0 it
was published, 1 the training failed, 2 wrong input, 130 interrupted. Checkpoints are
kept: --resume-from-checkpoint latest goes on. A checkpoint that fails the comparison is
not published, which counts as a failure.

examples:
  python -m flows.training --config configs/training_steppe.yaml
  python -m flows.training --config configs/training_config.yaml --publish-to s3://studio/characters
  python -m flows.training --config configs/training_config.yaml --resume-from-checkpoint latest
  python -m flows.training --profile steppe --max-train-steps 200 --target-modules to_q,to_v,to_k
"""


COMMAND = Command(
    module="flows.training",
    usage="[--config FILE] [options]",
    description="Train a character LoRA on captioned pictures; publish its best checkpoint.",
    forms=(Form(ConfigOption, (Group("the configuration", ("config",)),)), FORM),
    closing=CLOSING,
    surplus="only options are expected, got {}; give a configuration file with --config FILE",
    values=VALUES,
    renamed=RENAMED,
    explain_foreign=foreign_option,
)


def parse(arguments: list[str] | None = None) -> TrainingOptions:
    """Return the options of the command line and of its configuration file; others stay unset.

    accelerate's settings are read too, so that an error in them is reported at once.
    """
    return COMMAND.parse(arguments, _read)


def _read(values: dict[str, Any]) -> TrainingOptions:
    config = Path(values.pop("config")) if "config" in values else None
    options = training_options({name: _value(name, value) for name, value in values.items()}, config, option_name)
    read_accelerate_config(Path(options.accelerate_config) if options.accelerate_config else None)
    return options


def _value(name: str, value: Any) -> Any:
    """Convert an option's text to the value that the record takes."""
    may_be_unset = {"type": "null"} in FORM.options[name].get("anyOf", [])
    if may_be_unset and value in (NOTHING, [NOTHING]):
        return None
    if name == "target_modules":
        return [module.strip() for text in value for module in text.split(",")]
    return value


def main(arguments: list[str] | None = None) -> None:
    """Run the training flow; exit with 0 and the place of publication as the last line, or with 1 and the error."""
    options = parse(arguments)
    to_go_on = "--resume-from-checkpoint latest goes on from the last checkpoint"
    is_local = options.get_profile().is_local
    run(Run("flows.training:train_lora", ("", options), to_go_on, lambda: check(options), is_local))


def check(options: TrainingOptions) -> None:
    """Make the checks of the flow's first two stages, without a server."""
    from models.language.prompts import token_counter  # noqa: PLC0415
    from models.lora.buckets import places_in_a_pass  # noqa: PLC0415
    from models.lora.data.dataset import read_set, require_enough  # noqa: PLC0415
    from models.lora.preflight import require  # noqa: PLC0415
    from models.lora.training.job import updates_of  # noqa: PLC0415

    settings = read_accelerate_config(Path(options.accelerate_config) if options.accelerate_config else None)
    require(options, settings, Keys(), run="")
    training_set = read_set(options, token_counter(options.get_profile()))
    require_enough(training_set)
    places = places_in_a_pass(training_set, options.train_batch_size)
    updates_of(options, places, settings.num_processes if settings else 1)
