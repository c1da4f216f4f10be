"""A command line as a table: where it stands, what it takes, what its help says.

Its options are the fields of records. The records, not argparse, say what is right: values reach them as text.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from flows.terminal import say, stop
from models.errors import InputError, StoryboardError
from models.forms.form import Form, explain_option, value_schema
from models.settings import explain, suggest

LONGEST = 110
"""Columns of the terminal that the help makes use of."""
PROSE = 88
"""Characters in a line that is read from its beginning to its end."""
KINDS = {"integer": "N", "number": "X", "string": "TEXT", "array": "TEXT"}
"""What stands for a value in the help, where it has no name of its own."""
Result = TypeVar("Result")
AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


class Shortcut(NamedTuple):
    """A flag that stands for a value of an option: --ref-guided for --pipeline reference_guided."""

    option: str
    value: str


@dataclass(frozen=True)
class Command:
    """What a program takes. Nothing that is not given reaches its records, so that it stays unset there."""

    module: str
    """What follows `python -m`."""
    usage: str
    """What follows the program in the help's first line."""
    description: str
    forms: tuple[Form, ...]
    """Records of the options, in the order of the help; each group has a heading there."""
    closing: str = ""
    """The end of the help."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """What is given without a name -> its explanation."""
    surplus: str = "there are only options, and {} is none"
    """What is wrong with one argument too many, with {} where it is repeated."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Option -> what stands for its value in the help, where it is no number and no choice."""
    short_names: Mapping[str, str] = field(default_factory=dict)
    """Option -> another name of it."""
    shortcuts: Mapping[str, Shortcut] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Earlier name of an option, which is still taken -> its name now."""
    without: tuple[str, ...] = ()
    """Fields of the records that are no options here."""
    explain_foreign: Callable[[str], str | None] = lambda _: None
    """What another trainer's option is here; None where it is not known."""

    def parse(self, arguments: list[str] | None, read: Callable[[dict[str, Any]], Result]) -> Result:
        """What `read` makes of the values that were given, by option or argument.

        Exits with code 2 and one line if anything is wrong, with 0 after --help.

        Args:
            arguments: of the command line; None: those of this process.
            read: takes texts, lists of texts and switches; raises a StoryboardError or a ValidationError.
        """
        parser = self.parser()
        arguments = sys.argv[1:] if arguments is None else arguments
        given, rest = parser.parse_known_args([self._under_its_name_now(argument) for argument in arguments])
        try:
            self._refuse(rest, parser)
            return read(self._without_shortcuts(vars(given)))
        except ValidationError as error:
            stop(explain(error, option_name))
        except StoryboardError as error:
            stop(str(error))

    def parser(self) -> Parser:
        """The parser, with all options in their groups."""
        parser = Parser(
            prog=f"python -m {self.module}",
            usage=f"%(prog)s {self.usage}",
            description=textwrap.fill(self.description, width()),
            epilog=wrapped(self.closing),
            formatter_class=Help,
            allow_abbrev=False,
            add_help=False,
            argument_default=argparse.SUPPRESS,
        )
        for name, explanation in self.arguments.items():
            parser.add_argument(name, metavar=name.upper(), nargs="?", help=explanation)
        for form in self.forms:
            for title, names, _ in form.groups:
                group = parser.add_argument_group(title)
                for name in names:
                    if name not in self.without:
                        self._add(group, name, form.options[name])
        parser.add_argument_group("help").add_argument("-h", "--help", action="help", help="Show this and stop")
        return parser

    def _add(self, group: argparse._ArgumentGroup, name: str, schema: Mapping[str, Any]) -> None:
        """Add the option of one field, by the field's JSON schema, and the shortcuts to its values."""
        settings: dict[str, Any] = {"dest": name, "help": explain_option(schema).replace("%", "%%")}
        schema = value_schema(schema)
        if schema["type"] == "boolean":
            settings["action"] = argparse.BooleanOptionalAction
        else:
            choices = "{" + ",".join(schema["enum"]) + "}" if "enum" in schema else None
            settings["metavar"] = choices or self.values.get(name) or KINDS[schema["type"]]
        if schema["type"] in ("object", "array"):
            settings["action"] = "append"
        names = [option_name(name), *([self.short_names[name]] if name in self.short_names else [])]
        group.add_argument(*names, **settings)
        for flag, (option, value) in self.shortcuts.items():
            if option == name:
                says = f"Short for {option_name(option)} {value}"
                group.add_argument(option_name(flag), dest=flag, action="store_true", help=says)

    def _under_its_name_now(self, argument: str) -> str:
        """The argument; an option's earlier name in it is replaced, with a warning."""
        given, separator, value = argument.partition("=")
        for before, now in self.renamed.items():
            if given == option_name(before):
                say(
                    f"warning: {given} is now called {option_name(now)}; the old name works in this release", sys.stderr
                )
                return f"{option_name(now)}{separator}{value}"
        return argument

    def _refuse(self, rest: list[str], parser: Parser) -> None:
        """Name the first option that nothing takes, and what is near it, else the first argument too many."""
        valid = parser.option_names()
        left = [argument for argument in rest if argument != "--"]
        for name in (argument.partition("=")[0] for argument in left if argument.startswith("-")):
            if name in valid:
                raise InputError(f"{name} comes after --, where no option may be: put options before --")
            if here := self.explain_foreign(name):
                raise InputError(f"{name} is another trainer's option; here: {here}")
            raise InputError(f"unknown option {name}{suggest(name, valid)}")
        if left:
            raise InputError(self.surplus.format(repr(left[0])))

    def _without_shortcuts(self, given: dict[str, Any]) -> dict[str, Any]:
        """The values, with what shortcuts stand for in their place."""
        for flag, (option, value) in self.shortcuts.items():
            if given.pop(flag, False) and given.setdefault(option, value) != value:
                raise InputError(f"{option_name(flag)} contradicts {option_name(option)} {given[option]}")
        return given


class Parser(argparse.ArgumentParser):
    """A parser that stops with one line, in place of the usage of all options."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and the message on stderr."""
        stop(message)

    def option_names(self) -> list[str]:
        """The long names of all options."""
        return [option for option in self._option_string_actions if option.startswith("--")]

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print the help, also where the terminal lacks some of its letters or nobody reads to its end."""
        with suppress(OSError):
            say(message.rstrip("\n"), file)


class Help(argparse.RawDescriptionHelpFormatter):
    """Explanations in one column, with room for them; lines no longer than are easy to read."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=width())


def width() -> int:
    """Characters in a line of the help."""
    return min(shutil.get_terminal_size().columns, LONGEST) - 2


def wrapped(text: str) -> str:
    """The text in lines that fit the terminal; examples stay as they are, so that they can be copied."""
    line = min(width(), PROSE)
    parts = (part if part.startswith("examples:") else textwrap.fill(part, line) for part in text.split("\n\n"))
    return "\n\n".join(parts)


def option_name(field: str) -> str:
    """Name of a record's field on the command line."""
    return f"--{field.replace('_', '-')}"


def record_of(record: type[AnyRecord], values: Mapping[str, Any]) -> AnyRecord:
    """The record of those values that are fields of it.

    Raises:
        ValidationError: one of them is wrong.
    """
    return record.model_validate({name: value for name, value in values.items() if name in record.model_fields})
