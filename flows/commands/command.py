"""A command line as data: its module, arguments, options and help.

Its options are the fields of records. Values reach the records as text, and the records validate them, not argparse.
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
"""Largest width of the help in columns."""
PROSE = 88
"""Largest width of a paragraph in the help."""
KINDS = {"integer": "N", "number": "X", "string": "TEXT", "array": "TEXT"}
"""Default placeholders of values in the help, by JSON type."""
Result = TypeVar("Result")
AnyRecord = TypeVar("AnyRecord", bound=BaseModel)


class Shortcut(NamedTuple):
    """A flag that stands for a value of an option: --ref-guided for --pipeline reference_guided."""

    option: str
    value: str


class Instead(NamedTuple):
    """An option that stands for the arguments: --from BOARD."""

    value: str
    """Placeholder of its value in the help."""
    explanation: str


@dataclass(frozen=True)
class Command:
    """A program's command line. Options that are not given do not reach the records, so that they stay unset."""

    module: str
    """The module after `python -m`."""
    usage: str
    """The usage line after the program's name."""
    description: str
    forms: tuple[Form, ...]
    """Records of the options, in the order of the help; each group gets a heading."""
    closing: str = ""
    """The end of the help."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Positional argument -> its explanation."""
    surplus: str = "only options are expected, got {}"
    """Message about a surplus argument, which replaces {}."""
    instead: Mapping[str, Instead] = field(default_factory=dict)
    """Options that stand for the arguments, by name."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Option -> placeholder of its value in the help."""
    short_names: Mapping[str, str] = field(default_factory=dict)
    """Option -> second name."""
    shortcuts: Mapping[str, Shortcut] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Earlier name of an option, which is still accepted -> present name."""
    gone: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    """Option of earlier versions -> the message that says what to write instead of it with this value."""
    without: tuple[str, ...] = ()
    """Fields of the records that are no options of this command."""
    explain_foreign: Callable[[str], str | None] = lambda _: None
    """Returns this project's equivalent of another trainer's option; None if there is none."""

    def parse(self, arguments: list[str] | None, read: Callable[[dict[str, Any]], Result]) -> Result:
        """Parse the command line, and return what `read` makes of the given values.

        Exits with code 2 and one line after an error, and with 0 after --help.

        Args:
            arguments: the command line's arguments; None: those of this process.
            read: takes the values (texts, lists of texts, switches) by name; may raise StoryboardError or
                ValidationError.
        """
        parser = self.parser()
        arguments = sys.argv[1:] if arguments is None else arguments
        given, rest = parser.parse_known_args([self._under_its_name_now(argument) for argument in arguments])
        try:
            self._refuse_gone(vars(given))
            self._refuse(rest, parser)
            return read(self._without_shortcuts(vars(given)))
        except ValidationError as error:
            stop(explain(error, option_name))
        except StoryboardError as error:
            stop(str(error))

    def parser(self) -> Parser:
        """Return the parser with all options in their groups."""
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
        if self.instead:
            group = parser.add_argument_group(f"in place of {' and '.join(self.arguments)}")
            for name, (value, explanation) in self.instead.items():
                group.add_argument(option_name(name), dest=name, metavar=value, help=explanation)
        for name in self.gone:
            parser.add_argument(option_name(name), dest=name, help=argparse.SUPPRESS)
        parser.add_argument_group("help").add_argument("-h", "--help", action="help", help="Show this and stop")
        return parser

    def _add(self, group: argparse._ArgumentGroup, name: str, schema: Mapping[str, Any]) -> None:
        """Add a field's option, as its JSON schema describes it, and the shortcuts to its values."""
        settings: dict[str, Any] = {"dest": name, "help": explain_option(schema).replace("%", "%%")}
        schema = value_schema(schema)
        if schema["type"] == "boolean":
            settings["action"] = argparse.BooleanOptionalAction
        else:
            choices = "{" + ",".join(map(str, schema["enum"])) + "}" if "enum" in schema else None
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
        """Return the argument with an option's earlier name replaced, and print a warning about it."""
        given, separator, value = argument.partition("=")
        for before, now in self.renamed.items():
            if given == option_name(before):
                say(
                    f"warning: {given} is now called {option_name(now)}; the old name works in this release", sys.stderr
                )
                return f"{option_name(now)}{separator}{value}"
        return argument

    def _refuse_gone(self, given: Mapping[str, Any]) -> None:
        for name, instead in self.gone.items():
            if name in given:
                raise InputError(instead(given[name]))

    def _refuse(self, rest: list[str], parser: Parser) -> None:
        """Refuse the first unknown option, with a suggestion, else the first surplus argument."""
        valid = [option for option in parser.option_names() if option not in map(option_name, self.gone)]
        left = [argument for argument in rest if argument != "--"]
        for name in (argument.partition("=")[0] for argument in left if argument.startswith("-")):
            if name in valid:
                raise InputError(f"{name} comes after --, where options are not allowed: put it before --")
            if here := self.explain_foreign(name):
                raise InputError(f"{name} is another trainer's option; here: {here}")
            raise InputError(f"unknown option {name}{suggest(name, valid)}")
        if left:
            raise InputError(self.surplus.format(repr(left[0])))

    def _without_shortcuts(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the values with shortcuts replaced by the options that they stand for."""
        for flag, (option, value) in self.shortcuts.items():
            if given.pop(flag, False) and given.setdefault(option, value) != value:
                raise InputError(f"{option_name(flag)} contradicts {option_name(option)} {given[option]}")
        return given


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, without the usage of all options."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and the message on stderr."""
        stop(message)

    def option_names(self) -> list[str]:
        """Return the long names of all options."""
        return [option for option in self._option_string_actions if option.startswith("--")]

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print the help, also on a terminal without some of its letters or into a closed pipe."""
        with suppress(OSError):
            say(message.rstrip("\n"), file)


class Help(argparse.RawDescriptionHelpFormatter):
    """Formats explanations in one wide column, with lines of at most `width()`."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=width())


def width() -> int:
    """Return the width of the help's lines in characters."""
    return min(shutil.get_terminal_size().columns, LONGEST) - 2


def wrapped(text: str) -> str:
    """Wrap the text to the terminal's width; examples stay unchanged, so that they can be copied."""
    line = min(width(), PROSE)
    parts = (part if part.startswith("examples:") else textwrap.fill(part, line) for part in text.split("\n\n"))
    return "\n\n".join(parts)


def option_name(field: str) -> str:
    """Return the option's name for a record's field."""
    return f"--{field.replace('_', '-')}"


def record_of(record: type[AnyRecord], values: Mapping[str, Any]) -> AnyRecord:
    """Return the record made of those values that are its fields.

    Raises:
        ValidationError: a value is invalid.
    """
    return record.model_validate({name: value for name, value in values.items() if name in record.model_fields})
