"""The command line: the same record as the flow's parameters, errors in one line, the directory as the last line.

Prefect is imported after the arguments have been understood, so that --help and a wrong option are answered at once.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from pydantic import ValidationError

from models.errors import InputError, StoryboardError
from models.records import STORY_MAX_CHARACTERS
from models.settings import StoryboardOptions, explain, read_story, suggest, with_environment

PROGRAM = "python -m flows.storyboard"
USAGE_ERROR, FAILURE, INTERRUPTED = 2, 1, 130

GROUPS: dict[str, tuple[str, ...]] = {
    "what is painted": ("profile", "frames", "seed", "lora_path", "refresh", "output_dir"),
    "the scenes": ("writer", "writer_model", "temperature"),
    "how alike the frames are": (
        "pipeline",
        "threshold",
        "prompt_threshold",
        "attempts",
        "control_scale",
        "control_end",
        "sketches",
    ),
    "the pictures": ("size", "steps", "guidance"),
    "the machine": ("device", "precision", "batch_size"),
}
"""Every option, in the order in which people look for them."""

SHORT_NAMES = {"temperature": ("--temp",)}
VALUES = {"lora_path": "SOURCE", "output_dir": "FOLDER", "device": "NAME", "writer_model": "NAME", "sketches": "N=FILE"}
"""What stands for a value in the help, where it is no number and no choice."""

LINE = 110
"""Characters in the longest line of the help."""

CLOSING = """\
Every option can also be set in the environment or in a file .env: STORYBOARD_FRAMES=4.
The command line wins over the environment, that over .env, and that over the profile.
OPENAI_API_KEY and AWS keys are read from there alone. All names are in .env.example.

Logs go to stderr, the new storyboard's folder to stdout. Exit codes: 0 it was made,
1 the run failed, 2 something that was given is wrong, 130 interrupted. What was
finished is kept: the same command again goes on from there.

examples:
  python -m flows.storyboard "Aldar Köse tricks a greedy merchant in the bazaar"
  python -m flows.storyboard "Алдар Көсе байды алдады" --frames 4 --seed 7
  python -m flows.storyboard "Aldar Köse outwits the khan" --profile sdxl --lora-path s3://studio/aldar --temp 0.7
  python -m flows.storyboard "Aldar Köse races a rider" --sketches 2=start.png --sketches 5=finish.png
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Stop with one line, in place of the usage of all options."""
        _stop(message)


def _stop(message: str, code: int = USAGE_ERROR) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


def parse(arguments: list[str]) -> tuple[str, StoryboardOptions]:
    """Story and options, with what the environment adds; what was set nowhere stays unset.

    Exits with code 2 and one line if anything is wrong, with 0 after --help.
    """
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    try:
        _refuse(rest, parser)
        if given.story is None:
            raise InputError(f'a story is needed: {PROGRAM} "Aldar Köse tricks a greedy merchant in the bazaar"')
        story = read_story(given.story).text
        return story, with_environment(StoryboardOptions.model_validate(_values(given)))
    except ValidationError as error:
        _stop(explain(error, _option))
    except StoryboardError as error:
        _stop(str(error))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        usage="%(prog)s STORY [options]",
        description="Turn a one-line tale of Aldar Köse into a storyboard of consistent pictures.",
        epilog=CLOSING,
        formatter_class=_Help,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument(
        "story",
        metavar="STORY",
        nargs="?",
        help=f"The tale in one line, in quotes, in any language, 1 to {STORY_MAX_CHARACTERS} characters; "
        "put -- before one that starts with a dash",
    )
    properties = StoryboardOptions.model_json_schema()["properties"]
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            _add(group, name, properties[name])
            if name == "pipeline":
                group.add_argument("--ref-guided", action="store_true", help="Short for --pipeline reference_guided")
    parser.add_argument_group("help").add_argument("-h", "--help", action="help", help="Show this and stop")
    return parser


class _Help(argparse.RawDescriptionHelpFormatter):
    """Explanations in one column, with room for them; lines no longer than are easy to read."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=min(shutil.get_terminal_size().columns, LINE) - 2)


def _add(group: argparse._ArgumentGroup, name: str, schema: dict[str, Any]) -> None:
    """Add an option as text: the record, not argparse, says what is right."""
    schema = {**schema, **schema.get("anyOf", [{}])[0]}
    settings: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": _help(schema)}
    if schema["type"] == "boolean":
        settings["action"] = argparse.BooleanOptionalAction
    else:
        choices = "{" + ",".join(schema["enum"]) + "}" if "enum" in schema else None
        settings["metavar"] = choices or VALUES.get(name) or {"integer": "N", "number": "X"}[schema["type"]]
    if schema["type"] == "object":
        settings["action"] = "append"
    group.add_argument(_option(name), *SHORT_NAMES.get(name, ()), **settings)


def _help(schema: dict[str, Any]) -> str:
    """The field's explanation, its limits and its default."""
    text, _, unset = schema["description"].replace("%", "%%").rstrip(".").partition(" Unset: ")
    facts = "; ".join(_facts(schema, unset))
    return f"{text.rstrip('.')} ({facts})" if facts else text


def _facts(schema: dict[str, Any], unset: str) -> Iterator[str]:
    if "minimum" in schema:
        yield f"{schema['minimum']:.10g} to {schema['maximum']:.10g}"
    if schema["type"] == "object":
        yield "may be given more than once"
    elif schema["type"] != "boolean":
        yield f"default: {unset or schema['default']}"


def _refuse(rest: list[str], parser: argparse.ArgumentParser) -> None:
    """Name the first argument that nothing takes, and what is near it."""
    for argument in rest:
        name = argument.partition("=")[0]
        if name.startswith("-"):
            valid = [option for option in parser._option_string_actions if option.startswith("--")]
            if name in valid:
                raise InputError(f"{name} comes after --, where only the story may be: put options before --")
            raise InputError(f"unknown option {name}{suggest(name, valid)}")
    if rest:
        raise InputError(f"one story is needed, and {rest[0]!r} is a second one: put the story in quotes")


def _values(given: argparse.Namespace) -> dict[str, Any]:
    values = {name: value for name, value in vars(given).items() if name in StoryboardOptions.model_fields}
    if given.ref_guided and values.setdefault("pipeline", "reference_guided") != "reference_guided":
        raise InputError(f"--ref-guided contradicts --pipeline {values['pipeline']}")
    if "sketches" in values:
        values["sketches"] = _sketches(values["sketches"])
    return values


def _sketches(pairs: list[str]) -> dict[str, str]:
    """N=FILE pairs by frame number."""
    sketches: dict[str, str] = {}
    for pair in pairs:
        number, equals, file = pair.partition("=")
        if not equals:
            raise InputError(f"--sketches: write N=FILE, such as 2=camel.png, got {pair!r}")
        if number in sketches:
            raise InputError(f"--sketches: frame {number} has two, {sketches[number]!r} and {file!r}")
        sketches[number] = file
    return sketches


def main(arguments: list[str] | None = None) -> None:
    """Run the storyboard flow; exit code 0 and the directory as the last line, or 1 and the error in one line."""
    story, options = parse(sys.argv[1:] if arguments is None else arguments)
    if options.get_profile().is_local:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's library is first imported
    said: list[str] = []
    # Registered before Prefect starts its temporary server, and so run after it has said that it stopped.
    atexit.register(lambda: print(*said, sep="\n", end="\n" if said else "", flush=True))
    try:
        from flows.storyboard import storyboard  # noqa: PLC0415

        said.append(storyboard(story, options))
    except KeyboardInterrupt:
        _stop("interrupted; run the same command again to go on", INTERRUPTED)
    except StoryboardError as error:
        _stop(str(error), FAILURE)
