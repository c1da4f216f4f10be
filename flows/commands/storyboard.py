"""The command line: the same record as the flow's parameters, errors in one line, the directory as the last line.

Prefect is imported after the arguments have been understood, so that --help and a wrong option are answered at once.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from flows.commands.options import (
    Parser,
    add_groups,
    add_help,
    given_options,
    new_parser,
    option_names,
    stopping_at_errors,
    unknown_option,
)
from flows.commands.running import Run, run
from models.errors import InputError
from models.forms.storyboard import FORM
from models.records import STORY_MAX_CHARACTERS
from models.secrets.keys import Keys
from models.settings import StoryboardOptions, read_story, with_environment

PROGRAM = "python -m flows.storyboard"

SHORT_NAMES = {"temperature": ("--temp",)}
VALUES = {
    **dict.fromkeys(("lora_path", "base", "controlnet", "vae", "clip"), "SOURCE"),
    "more_loras": "SOURCE[=STRENGTH]",
    "output_dir": "FOLDER",
    "device": "NAME",
    "writer_model": "NAME",
    "sketches": "N=FILE",
}
"""What stands for a value in the help, where it is no number and no choice."""

DESCRIPTION = "Turn a one-line tale of Aldar Köse into a storyboard of consistent pictures."

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


def parse(arguments: list[str]) -> tuple[str, StoryboardOptions]:
    """Story and options, with what the environment adds; what was set nowhere stays unset.

    Exits with code 2 and one line if anything is wrong, with 0 after --help.
    """
    parser = make_parser()
    given, rest = parser.parse_known_args(arguments)
    with stopping_at_errors():
        _refuse(rest, parser)
        if given.story is None:
            raise InputError(f'a story is needed: {PROGRAM} "Aldar Köse tricks a greedy merchant in the bazaar"')
        story = read_story(given.story).text
        return story, with_environment(StoryboardOptions.model_validate(_values(given)))


def make_parser() -> Parser:
    """The parser of this command."""
    parser = new_parser(PROGRAM, "STORY [options]", DESCRIPTION, CLOSING)
    parser.add_argument(
        "story",
        metavar="STORY",
        nargs="?",
        help=f"The tale in one line, in quotes, in any language, 1 to {STORY_MAX_CHARACTERS} characters; "
        "put -- before one that starts with a dash",
    )
    group = add_groups(parser, FORM, VALUES, SHORT_NAMES)["pipeline"]
    group.add_argument("--ref-guided", action="store_true", help="Short for --pipeline reference_guided")
    add_help(parser)
    return parser


def _refuse(rest: list[str], parser: argparse.ArgumentParser) -> None:
    """Name the first argument that nothing takes, and what is near it."""
    for argument in rest:
        name = argument.partition("=")[0]
        if name.startswith("-"):
            if name in option_names(parser):
                raise InputError(f"{name} comes after --, where only the story may be: put options before --")
            raise InputError(unknown_option(name, parser))
    if rest:
        raise InputError(f"one story is needed, and {rest[0]!r} is a second one: put the story in quotes")


def _values(given: argparse.Namespace) -> dict[str, Any]:
    values = given_options(given, StoryboardOptions)
    if given.ref_guided and values.setdefault("pipeline", "reference_guided") != "reference_guided":
        raise InputError(f"--ref-guided contradicts --pipeline {values['pipeline']}")
    return values


def main(arguments: list[str] | None = None) -> None:
    """Run the storyboard flow; exit code 0 and the directory as the last line, or 1 and the error in one line."""
    story, options = parse(sys.argv[1:] if arguments is None else arguments)

    def check() -> None:
        from models.preflight.checks import require  # noqa: PLC0415

        require(options, Keys())

    is_local = options.get_profile().is_local
    run(Run("flows.storyboard:storyboard", (story, options), "run the same command again to go on", check, is_local))
