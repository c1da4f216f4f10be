"""What a board cannot show or tell of its story, each a sentence for the log, the report and the run's state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.board.lettering import Weight, has_raqm, lost_letters, reads_right_to_left
from models.language.lexicon import why_unread
from models.records import SceneBreakdown

SHOWN = 8
"""Letters that a warning repeats."""


def find_warnings(breakdown: SceneBreakdown) -> tuple[str, ...]:
    """What people should know before they look at the board; empty where all is well."""
    return (*_writer_warnings(breakdown), *_lettering_warnings(breakdown))


def _writer_warnings(breakdown: SceneBreakdown) -> Iterator[str]:
    why = why_unread(breakdown.story.text) if breakdown.writer.startswith("offline/") else None
    if why is not None:
        yield (f"The tale is not the story's: {why}. Ask the openai writer, or tell it in one of these.")


def _lettering_warnings(breakdown: SceneBreakdown) -> Iterator[str]:
    texts: list[tuple[str, str, Weight]] = [("the title", breakdown.title, "bold")]
    texts += [("the story", breakdown.story.text, "regular")] if breakdown.story.text != breakdown.title else []
    texts += [(f"caption {scene.number}", scene.caption, "regular") for scene in breakdown.scenes]
    lost = {where: lost_letters(text, weight) for where, text, weight in texts}
    places = [where for where, letters in lost.items() if letters]
    if places:
        letters = "".join(dict.fromkeys("".join(lost.values())))
        shown = letters if len(letters) <= SHOWN else f"{letters[:SHOWN]}…"
        yield f"The contact sheet shows boxes for letters that its font lacks ({shown}), in {_listed(places)}."
    if not has_raqm() and any(reads_right_to_left(text) for _, text, _ in texts):
        yield "The contact sheet shows right-to-left letters neither joined nor in order: Pillow has no libraqm here."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
