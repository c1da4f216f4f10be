"""The command that makes a book of stories; its last line is the index's folder.

Prefect is imported after the arguments are parsed, so that --help and errors appear at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from flows.commands.command import Command, record_of
from flows.commands.running import Run, run
from flows.commands.storyboard import GONE, SHORT_NAMES, VALUES
from models.book.stories import AtOnce, read_stories
from models.errors import InputError
from models.forms.form import Form, Group
from models.forms.storyboard import FORM
from models.frames.render_config import needs_no_hub
from models.secrets.keys import Keys
from models.settings import StoryboardOptions, with_environment


class BookOptions(BaseModel):
    """Options of a book, besides those of its storyboards."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    story: list[str] = []
    """A story."""
    deployment: str | None = None
    """Deployment that makes the storyboards: storyboard/gpu. Unset: one by one, here."""
    at_once: AtOnce = 1
    """Simultaneous runs of the deployment."""


CLOSING = """\
FILE is UTF-8 text with one story per line; blank lines and those that begin with # are
skipped. Finished and intact storyboards with the same story and options are not made
again: the same command again makes only what is missing.

Options can also be set in the environment or in a file .env: STORYBOARD_FRAMES=4.
A deployment's own options override the environment, and the command line overrides both.

Logs go to stderr, the folder of index.html to stdout. Exit codes: 0 all were made,
1 a story failed, 2 wrong input, 130 interrupted.

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
    surplus="only one file of stories is expected, got {} too; give a story with --story TEXT",
    values={**VALUES, "deployment": "NAME"},
    short_names=SHORT_NAMES,
    gone=GONE,
    without=("sketches",),  # they belong to the frames of one story
)


class Asked(NamedTuple):
    """The parsed command line."""

    stories: list[str]
    file: str | None
    options: StoryboardOptions
    deployment: str | None
    at_once: int


def parse(arguments: list[str] | None = None) -> Asked:
    """Return stories, options and deployment."""
    return COMMAND.parse(arguments, _read)


def _read(values: dict[str, Any]) -> Asked:
    book, file = record_of(BookOptions, values), values.get("file")
    read_stories(book.story, file)
    options = record_of(StoryboardOptions, values)
    with_environment(options)  # only to report errors there at once; a deployment's own options override it
    if book.at_once > 1 and book.deployment is None:
        raise InputError(f"--at-once {book.at_once} needs --deployment: within one run the stories share one GPU")
    return Asked(book.story, file, options, book.deployment, book.at_once)


def main(arguments: list[str] | None = None) -> None:
    """Run the storybook flow; exit with 0 and the index's folder as the last line, or with 1 and the error."""
    asked = parse(arguments)
    chosen = with_environment(asked.options)
    is_local = asked.deployment is None and needs_no_hub(chosen)

    def check() -> None:
        from models.preflight.checks import require  # noqa: PLC0415

        if asked.deployment is None:
            require(chosen, Keys())

    # Not quiet: each failed story is logged when it fails.
    run(Run("flows.storybook:storybook", asked, "run the same command again to go on", check, is_local, quiet=False))
