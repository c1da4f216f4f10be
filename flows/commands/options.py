"""What the command lines share: options made from a record, errors in one line, the result as the last line of stdout.

The record, not argparse, says what is right: options reach it as text.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from flows.terminal import say
from models.errors import InputError, StoryboardError
from models.forms.form import Form, explain_option, value_schema
from models.secrets.keys import learn_environment
from models.settings import StoryboardOptions, explain, suggest

USAGE_ERROR, FAILURE, INTERRUPTED = 2, 1, 130

LINE = 110
"""Characters in the longest line of the help."""

KINDS = {"integer": "N", "number": "X", "string": "TEXT", "array": "TEXT"}
"""What stands for a value in the help, where it has no name of its own."""


class Parser(argparse.ArgumentParser):
    """A parser that stops with one line, in place of the usage of all options."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and the message on stderr."""
        stop(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print the help, also where the terminal lacks some of its letters or nobody reads to its end."""
        with suppress(OSError):
            say(message.rstrip("\n"), file)


class Help(argparse.RawDescriptionHelpFormatter):
    """Explanations in one column, with room for them; lines no longer than are easy to read."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(shutil.get_terminal_size().columns, LINE) - 2)


def stop(message: str, code: int = USAGE_ERROR) -> NoReturn:
    """Exit with this code and the message as one line on stderr."""
    learn_environment()
    with suppress(OSError):
        say(f"error: {' '.join(message.split())}", sys.stderr)
    raise SystemExit(code)


@contextmanager
def stopping_at_errors(record: type[BaseModel] = StoryboardOptions) -> Iterator[None]:
    """Stop with one line and code 2 at whatever is wrong with the options of this record."""
    try:
        yield
    except ValidationError as error:
        stop(explain(error, option_name, valid=record.model_fields))
    except StoryboardError as error:
        stop(str(error))


def given_options(given: argparse.Namespace, record: type[BaseModel]) -> dict[str, Any]:
    """The fields of the record that were given."""
    return {name: value for name, value in vars(given).items() if name in record.model_fields}


def option_name(field: str) -> str:
    """Name of a record's field on the command line."""
    return f"--{field.replace('_', '-')}"


def new_parser(program: str, usage: str, description: str, closing: str) -> Parser:
    """A parser without options, whose help ends with `closing`."""
    return Parser(
        prog=program,
        usage=f"%(prog)s {usage}",
        description=description,
        epilog=closing,
        formatter_class=Help,
        allow_abbrev=False,
        add_help=False,
    )


def add_help(parser: argparse.ArgumentParser) -> None:
    """Add --help, in a group of its own at the end."""
    parser.add_argument_group("help").add_argument("-h", "--help", action="help", help="Show this and stop")


def add_option(
    group: argparse._ArgumentGroup,
    name: str,
    schema: Mapping[str, Any],
    value_names: Mapping[str, str],
    short_names: Iterable[str] = (),
) -> None:
    """Add the option of one field, which stays absent where it is not given.

    Args:
        group: of the help, in which it stands.
        name: of the field.
        schema: the field's JSON schema, with its explanation, limits and default.
        value_names: field -> what stands for its value in the help, where it is no number and no choice.
        short_names: other names of the option.
    """
    settings: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS}
    settings["help"] = explain_option(schema).replace("%", "%%")
    schema = value_schema(schema)
    if schema["type"] == "boolean":
        settings["action"] = argparse.BooleanOptionalAction
    else:
        choices = "{" + ",".join(schema["enum"]) + "}" if "enum" in schema else None
        settings["metavar"] = choices or value_names.get(name) or KINDS[schema["type"]]
    if schema["type"] in ("object", "array"):
        settings["action"] = "append"
    group.add_argument(option_name(name), *short_names, **settings)


def add_groups(
    parser: argparse.ArgumentParser,
    form: Form,
    value_names: Mapping[str, str],
    short_names: Mapping[str, Iterable[str]] = MappingProxyType({}),
    without: Iterable[str] = (),
) -> dict[str, argparse._ArgumentGroup]:
    """Add the options of a form, under its headings, besides those that are left out; returns each option's group."""
    found = {}
    for title, names, _ in form.groups:
        group = parser.add_argument_group(title)
        for name in names:
            if name not in without:
                found[name] = group
                add_option(group, name, form.options[name], value_names, short_names.get(name, ()))
    return found


def unknown_option(name: str, parser: argparse.ArgumentParser) -> str:
    """What is wrong with an option that the parser does not have, and the nearest one that it has."""
    return f"unknown option {name}{suggest(name, option_names(parser))}"


def refuse_rest(rest: list[str], parser: argparse.ArgumentParser, why: str) -> None:
    """Name the first argument that nothing takes, and for an option what is near it.

    Args:
        rest: what the parser did not take.
        parser: that was asked.
        why: what is wrong with a plain argument, with `{}` where it is repeated.

    Raises:
        InputError: there is such an argument.
    """
    for argument in rest:
        if argument.startswith("-") and argument != "--":
            raise InputError(unknown_option(argument.partition("=")[0], parser))
    if rest:
        raise InputError(why.format(repr(rest[0])))


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """The long names of all options."""
    return [option for option in parser._option_string_actions if option.startswith("--")]
