"""The training's YAML file as options, and what is to be said about the options before the training begins.

Sections (`lora:`, `training:`…) only order the file for readers: a name means the same in all of them and outside.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.errors import InputError
from models.lora.configuration import accelerate_settings
from models.lora.configuration.foreign_names import FOREIGN, names_in, parse_toml, translation
from models.lora.configuration.yaml_files import YamlFile, read_yaml
from models.lora.options import RENAMED, TEXT_TARGETS, TrainingOptions
from models.settings import explain, suggest

logger = logging.getLogger("models.lora")

SECTIONS = ("model", "lora", "training", "data", "optimization", "checkpointing")
OPTIONS = tuple(TrainingOptions.model_fields)
ELSEWHERE = (*accelerate_settings.HONOURED, *accelerate_settings.OF_THE_DOCUMENT)
"""Names that belong in the file of accelerate_config."""
SWITCHES = tuple(name for name, field in TrainingOptions.model_fields.items() if field.annotation is bool)


def read_training_config(file: Path) -> dict[str, Any]:
    """What a training's YAML file sets, by option. Values are as YAML reads them, and checked by the record.

    A relative `accelerate_config` is taken from the file's own folder; all other paths from the current one.

    Raises:
        InputError: the file can't be read, or holds an unknown section or name, or one twice; the message names file
            and line.
    """
    _refuse_toml(file)
    config = read_yaml(file)
    _refuse_foreign(config)
    places: dict[str, str] = {}
    values: dict[str, Any] = {}
    for place, written, value in _entries(config):
        name = RENAMED.get(written, written)
        if name != written:
            at = config.at(place)
            logger.warning("%s: %s is now called %s; the old name works in this release", at, written, name)
        _check(config, place, name, value)
        if name in places:
            raise InputError(f"{config.at(place)}: {name} is also in line {config.lines[places[name]]}; keep one")
        places[name], values[name] = place, value
    if isinstance(accelerate := values.get("accelerate_config"), str):
        values["accelerate_config"] = str(file.parent / Path(accelerate).expanduser())
    return values


def _refuse_toml(file: Path) -> None:
    """Refuse a TOML file, and say what its names are here. Any other file is left to the reader of YAML."""
    try:
        values = parse_toml(file.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        return
    if values is not None:
        raise InputError(f"{file}: {translation('TOML', values, OPTIONS, ELSEWHERE)}")


def _refuse_foreign(config: YamlFile) -> None:
    """Refuse another trainer's names, and say what they are here: a single name, or all names of the file."""
    foreign = [name for name in names_in(config.values) if name in FOREIGN]
    if len(foreign) > 1:
        kind = "JSON" if config.file.suffix.lower() == ".json" else "YAML"
        raise InputError(f"{config.file}: {translation(kind, config.values, OPTIONS, ELSEWHERE)}")
    for place, name, _ in _entries(config):
        if name in FOREIGN:
            raise InputError(f"{config.at(place)}: {name} is another trainer's name; here: {FOREIGN[name]}")


def _entries(config: YamlFile) -> Iterator[tuple[str, str, Any]]:
    """Place (rank or lora.rank), name and value of everything outside and inside the sections."""
    for name, value in config.values.items():
        if name not in SECTIONS:
            yield name, name, value
        elif isinstance(value, dict):
            yield from ((f"{name}.{inner}", inner, content) for inner, content in value.items())
        elif value is not None:  # an empty section is none
            raise InputError(f"{config.at(name)}: section {name} holds names and values, got {value!r}")


def _check(config: YamlFile, place: str, name: str, value: Any) -> None:
    where = config.at(place)
    if name in SECTIONS:
        raise InputError(f"{where}: section {name} stands inside another; move it to the left margin")
    if name in ELSEWHERE:
        raise InputError(f"{where}: {name} belongs in a file of its own; name that file as accelerate_config")
    if name not in OPTIONS:
        what = "section or name" if place == name else "name"
        valid = [*OPTIONS, *SECTIONS] if place == name else list(OPTIONS)
        raise InputError(f"{where}: unknown {what} {name!r}{suggest(name, valid)}")
    if isinstance(value, bool) and name not in SWITCHES:
        raise InputError(f"{where}: {name}: to YAML yes, no, on and off are true and false; quote it if it is a word")


def training_options(given: dict[str, Any], config: Path | None, called: Callable[[str], str] = str) -> TrainingOptions:
    """The options: those given explicitly win over the file's, and those over the defaults.

    Args:
        given: option -> value, from the command line or the flow's parameters.
        config: the training's YAML file, if there is one.
        called: what to call an option that was given, such as "--rank".

    Raises:
        InputError: a value is wrong, or values contradict each other; the message says whether the file or what was
            given is to be changed.
    """
    values = {} if config is None else read_training_config(config)
    try:
        return TrainingOptions.model_validate(values | given)
    except ValidationError as error:
        if error.errors()[0]["loc"]:
            names = {name: f"{config}: {name}" for name in values} | {name: called(name) for name in given}
            raise InputError(explain(error, lambda name: names.get(name, name), valid=OPTIONS)) from None
        raise InputError(f"{_origin(values, given, config)}{explain(error)}") from None


def _origin(values: dict[str, Any], given: dict[str, Any], config: Path | None) -> str:
    """Where values come from that contradict each other."""
    if not values:
        return ""
    return f"{config} and the options given with it: " if given else f"{config}: "


def notes(options: TrainingOptions, places: int, processes: int = 1) -> tuple[str, ...]:
    """One line for each option that repeats another or has words of its own, and how it is understood.

    Args:
        options: of the training.
        places: of a pass, as `places_in_a_pass` counts them: in squares its pictures.
        processes: in how many processes, each of which takes a batch of its own.
    """
    return tuple(_notes(options, places, processes))


def _notes(options: TrainingOptions, places: int, processes: int) -> Iterator[str]:
    if options.pretrained_model_name_or_path is not None:
        yield "pretrained_model_name_or_path is another name of base_model_name_or_path"
    shared = [name for name in options.target_modules if name in TEXT_TARGETS]
    yield f"target_modules {', '.join(shared)} are {', '.join(options.text_targets())} in the text encoders"
    if options.max_train_steps is not None and options.num_train_epochs is not None:
        what = "pictures at most" if options.aspect_buckets else "pictures"
        each = options.train_batch_size * options.gradient_accumulation_steps * processes
        yield (
            f"{options.max_train_steps} updates of {each} {what} are "
            f"{_rounded(options.max_train_steps * each / places)} epochs of {places} {what}; "
            f"max_train_steps wins over num_train_epochs {options.num_train_epochs}"
        )
    if options.enable_xformers_memory_efficient_attention:
        yield "enable_xformers_memory_efficient_attention: PyTorch's own attention is used, which is as fast"


def _rounded(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"
