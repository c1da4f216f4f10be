"""The flow that makes the storyboards of many stories, and an index of them.

python -m flows.storybook stories.txt --profile steppe

stories ── storyboard, storyboard, … ── index
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before Prefect, which takes two seconds to import: --help and a wrong option are answered at once.
    from flows.commands.collecting import run_program
    from flows.commands.storybook import main

    run_program(main)

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.logs import prepare_logs
from flows.outcome import completed, failing_in_words, run_name
from flows.storyboard import storyboard
from models.book.index import Chapter
from models.book.stories import AtOnce, failed, made, require_all
from models.errors import InputError
from models.forms.form import UNSET, OptionalText, OptionalTexts
from models.forms.storyboard import StoryboardForm
from models.settings import StoryboardOptions, with_environment
from tasks.book import Shown, begin_book, finish_book
from tasks.pool import deployed_options, made_on_the_pool, why

prepare_logs()

NO_STORIES: Any = []


def _name() -> str:
    given = flow_run.parameters
    file, stories = given.get("file"), given.get("stories") or ()
    return run_name(f"stories of {Path(str(file)).name}" if file else f"{len(stories)} stories")


@flow(name="storybook", flow_run_name=_name)
@failing_in_words
def storybook(
    stories: OptionalTexts = NO_STORIES,
    file: OptionalText = "",
    options: StoryboardForm = UNSET,
    deployment: OptionalText = "",
    at_once: AtOnce = 1,
) -> str:
    """Make a storyboard of each story, and one index of all of them. A second run makes only what is missing.

    Args:
        stories: The tales, one line each. Duplicates are made once.
        file: A text file with one tale per line, on the machine that runs this; lines that begin with # are skipped.
        options: For all storyboards, as in the storyboard flow.
        deployment: "storyboard/gpu": make them as runs of this deployment on its pool. Empty: one after another in
            this run, with models that are loaded once.
        at_once: Largest number of simultaneous runs of the deployment: as many as there are GPUs.

    Returns:
        The directory of the index.
    """
    if at_once > 1 and not deployment:
        raise InputError(f"at_once {at_once} needs a `deployment`: within one run the stories share one GPU")
    chosen = with_environment(options if not deployment else deployed_options(deployment, options))
    shown = Shown(begin_book(stories, file, chosen))
    waiting = [chapter for chapter in shown.book.chapters if chapter.state == "waiting"]
    making = (
        made_in_this_run(waiting, chosen) if not deployment else made_on_the_pool(waiting, chosen, deployment, at_once)
    )
    with closing(making):
        for chapter in making:
            shown.add(chapter)
    finish_book(shown.book)
    require_all(shown.book)
    return completed(shown.book.folder, shown.book.progress())


def made_in_this_run(chapters: Sequence[Chapter], options: StoryboardOptions) -> Generator[Chapter, None, None]:
    """Yield the chapters one after another, each made by a subflow's run."""
    for chapter in chapters:
        state = storyboard(chapter.story, options, return_state=True)
        yield made(chapter, state.result()) if state.is_completed() else failed(chapter, why(state))
