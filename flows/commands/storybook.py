"""The command line of a book: a file of stories, options for all of them; the index's folder as the last line.

Prefect is imported after the arguments have been understood, so that --help and a wrong option are answered at once.
"""

from __future__ import annotations

import argparse
import sys
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from flows.commands.options import (
    Parser,
    add_groups,
    add_help,
    given_options,
    new_parser,
    refuse_rest,
    stopping_at_errors,
)
from flows.commands.running import Run, run
from flows.commands.storyboard import SHORT_NAMES, VALUES
from models.book.stories import AtOnce, read_stories
from models.errors import InputError
from models.forms.storyboard import FORM
from models.secrets.keys import Keys
from models.settings import StoryboardOptions, check_names, with_environment

PROGRAM = "python -m flows.storybook"

ONE_STORY = {"sketches"}
"""Options that belong to one story's frames."""

DESCRIPTION = "Make a storyboard of each story, and one index of all of them."

CLOSING = """\
In FILE every line is a story, in UTF-8; blank lines and those that begin with # do not
count. Storyboards that are there already, finished and whole, with the same story and
options, are not made again: the same command again makes only what is missing.

Options can also be set in the environment or in a file .env: STORYBOARD_FRAMES=4.
A deployment's own options stand between the command line's and the environment's.

Logs go to stderr, the folder of index.html to stdout. Exit codes: 0 all were made,
1 a story failed, 2 something that was given is wrong, 130 interrupted.

examples:
  python -m flows.storybook stories.txt --profile steppe
  python -m flows.storybook --story "Aldar Köse outwits the khan" --story "Aldar Köse races a rider" --frames 4
  python -m flows.storybook stories.txt --deployment storyboard/gpu --at-once 4
"""


class Asked(NamedTuple):
    """What the command line asks for."""

    stories: list[str]
    file: str | None
    options: StoryboardOptions
    deployment: str | None
    at_once: int


def parse(arguments: list[str]) -> Asked:
    """Stories, options, and what makes them.

    Exits with code 2 and one line if anything is wrong, with 0 after --help.
    """
    parser = make_parser()
    given, rest = parser.parse_known_args(arguments)
    with stopping_at_errors():
        refuse_rest(rest, parser, "one file of stories is needed, and {} is a second one: a story is --story TEXT")
        read_stories(given.story, given.file)
        options = StoryboardOptions.model_validate(given_options(given, StoryboardOptions))
        check_names()
        return Asked(given.story, given.file, options, given.deployment, _at_once(given))


def _at_once(given: argparse.Namespace) -> int:
    try:
        count = TypeAdapter(AtOnce).validate_python(given.at_once)
    except ValidationError as error:
        raise InputError(f"--at-once: {error.errors()[0]['msg']}, got {given.at_once!r}") from None
    if count > 1 and given.deployment is None:
        raise InputError(f"--at-once {count} needs --deployment: within one run the stories share one GPU")
    return count


def make_parser() -> Parser:
    """The parser of this command."""
    parser = new_parser(PROGRAM, "[FILE] [--story TEXT] [options]", DESCRIPTION, CLOSING)
    parser.add_argument("file", metavar="FILE", nargs="?", help="Text file with one story a line")
    own = parser.add_argument_group("the stories, and what makes them")
    own.add_argument(
        "--story", metavar="TEXT", action="append", default=[], help="A story (may be given more than once)"
    )
    own.add_argument(
        "--deployment", metavar="NAME", help="Run them on its pool: storyboard/gpu (default: one by one, here)"
    )
    own.add_argument(
        "--at-once", metavar="N", default="1", help="Runs of the deployment at a time (1 to 64; default: 1)"
    )
    add_groups(parser, FORM, VALUES, SHORT_NAMES, ONE_STORY)
    add_help(parser)
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Run the storybook flow; exit code 0 and the index's folder as the last line, or 1 and the error in one line."""
    asked = parse(sys.argv[1:] if arguments is None else arguments)
    with stopping_at_errors():
        chosen = with_environment(asked.options)
    is_local = asked.deployment is None and chosen.get_profile().is_local

    def check() -> None:
        from models.preflight.checks import require  # noqa: PLC0415

        if asked.deployment is None:
            require(chosen, Keys())

    # Not quiet: a story that fails is told when it fails.
    run(Run("flows.storybook:storybook", asked, "run the same command again to go on", check, is_local, quiet=False))
