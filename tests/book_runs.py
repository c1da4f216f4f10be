"""Books of stories on the tiny models, and what their index says."""

from __future__ import annotations

from typing import Any

from flow_runs import Ran, Stage

from flows.storybook import storybook
from models.book.index import Book
from models.errors import StoryboardError

TALES = ["Aldar Köse outwits the khan", "Aldar Köse races a rider", "Aldar Köse sells a coat with holes"]


def tell(stage: Stage, stories: list[str] | None = None, *, frames: int = 1, **given: Any) -> Ran:
    """Make a book on the tiny models."""
    own = {name: given.pop(name) for name in ("file", "deployment", "at_once") if name in given}
    state = storybook(stories, options=stage.options(frames=frames, **given), **own, return_state=True)
    return Ran(state, stage.output)


def error_of(ran: Ran) -> str:
    """The one line with which the flow failed, which the server knows too."""
    error = ran.state.result(raise_on_failure=False)
    assert isinstance(error, StoryboardError), error
    known = ran.flow_run().state
    assert known is not None
    assert known.is_failed()
    assert str(error) in str(known.message)
    assert "\n" not in str(error)
    return str(error)


def last_book(stage: Stage) -> Book:
    """What index.json of the newest index says."""
    newest = max(stage.output.glob("storybook_*"), key=lambda folder: folder.stat().st_mtime_ns)
    return Book.model_validate_json((newest / "index.json").read_bytes())


def states(stage: Stage) -> list[str]:
    return [chapter.state for chapter in last_book(stage).chapters]
