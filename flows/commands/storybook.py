"""The command line of a book: a file of stories, options for all of them; the index's folder as the last line.

Prefect is imported after the arguments have been understood, so that --help and a wrong option are answered at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from flows.commands.command import Command, record_of
from flows.commands.running import Run, run
from flows.commands.storyboard import SHORT_NAMES, VALUES
from models.book.stories import AtOnce, read_stories
from models.errors import InputError
from models.forms.form import Form, Group
from models.forms.storyboard import FORM
from models.secrets.keys import Keys
from models.settings import StoryboardOptions, with_environment


class BookOptions(BaseModel):
    """What is made besides one storyboard's options."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    story: list[str] = []
    """A story."""
    deployment: str | None = None
    """Run them on its pool: storyboard/gpu. Unset: one by one, here."""
    at_once: AtOnce = 1
    """Runs of the deployment at a time."""


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


COMMAND = Command(
    module="flows.storybook",
    usage="[FILE] [--story TEXT] [options]",
    description="Make a storyboard of each story, and one index of all of them.",
    forms=(
        Form(BookOptions, (Group("the stories, and what makes them", ("story", "deployment", "at_once")),)),
        FORM,
    ),
    closing=CLOSING,
    arguments={"file": "Text file with one story a line"},
    surplus="one file of stories is needed, and {} is a second one: a story is --story TEXT",
    values={**VALUES, "deployment": "NAME"},
    short_names=SHORT_NAMES,
    without=("sketches",),  # which belong to one story's frames
)


class Asked(NamedTuple):
    """What the command line asks for."""

    stories: list[str]
    file: str | None
    options: StoryboardOptions
    deployment: str | None
    at_once: int


def parse(arguments: list[str] | None = None) -> Asked:
    """Stories, options, and what makes them."""
    return COMMAND.parse(arguments, _read)


def _read(values: dict[str, Any]) -> Asked:
    book, file = record_of(BookOptions, values), values.get("file")
    read_stories(book.story, file)
    options = record_of(StoryboardOptions, values)
    with_environment(options)  # so that what is wrong there is told at once; a deployment's own options win over it
    if book.at_once > 1 and book.deployment is None:
        raise InputError(f"--at-once {book.at_once} needs --deployment: within one run the stories share one GPU")
    return Asked(book.story, file, options, book.deployment, book.at_once)


def main(arguments: list[str] | None = None) -> None:
    """Run the storybook flow; exit code 0 and the index's folder as the last line, or 1 and the error in one line."""
    asked = parse(arguments)
    chosen = with_environment(asked.options)
    is_local = asked.deployment is None and chosen.get_profile().is_local

    def check() -> None:
        from models.preflight.checks import require  # noqa: PLC0415

        if asked.deployment is None:
            require(chosen, Keys())

    # Not quiet: a story that fails is told when it fails.
    run(Run("flows.storybook:storybook", asked, "run the same command again to go on", check, is_local, quiet=False))
