"""Warnings about parts of a story that a board can't show, each a sentence for the log and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from models.board.lettering import has_raqm, lost_letters, reads_right_to_left
from models.board.panel_words import panel_dialogue
from models.board.typefaces import Weight
from models.language.lexicon import why_unread
from models.records import SceneBreakdown

ANOTHER_FONT = "Install one with them, such as fonts-noto-cjk for Chinese, and make it again."
SHOWN = 8
"""Largest number of letters, or of words, that a warning lists."""


def find_warnings(breakdown: SceneBreakdown) -> tuple[str, ...]:
    """Return the warnings about a story's scenes and lettering."""
    return (*_writer_warnings(breakdown), *_lettering_warnings(breakdown))


def _writer_warnings(breakdown: SceneBreakdown) -> Iterator[str]:
    why = why_unread(breakdown.story.text) if breakdown.writer.startswith("offline/") else None
    if why is not None:
        yield (
            f"The scenes do not follow the story: {why}; it tells a tale of {_subject(breakdown)}. Use the openai "
            "writer, or one of these languages."
        )
    elif breakdown.left_out:
        words, more = breakdown.left_out[:SHOWN], len(breakdown.left_out) - SHOWN
        yield (
            f"The scenes leave out words of the story: {', '.join(words)}{f' and {more} more' if more > 0 else ''}. "
            "The offline writer does not know them, or no scene has room for them; the openai writer reads the whole "
            "story."
        )


def _subject(breakdown: SceneBreakdown) -> str:
    """Return the tale's people and its most frequent thing: "the merchant and a carpet"."""
    things = Counter(thing for scene in breakdown.scenes for thing in scene.things).most_common(1)
    names = [*(member.name for member in breakdown.cast), *(thing for thing, _ in things)]
    return _listed(names or ["the hero"])


def _lettering_warnings(breakdown: SceneBreakdown) -> Iterator[str]:
    texts: list[tuple[str, str, Weight]] = [("the title", breakdown.title, "bold")]
    texts += [("the story", breakdown.story.text, "regular")] if breakdown.story.text != breakdown.title else []
    texts += [(f"caption {scene.number}", scene.caption, "regular") for scene in breakdown.scenes]
    texts += [(f"dialogue {scene.number}", panel_dialogue(scene), "regular") for scene in breakdown.scenes]
    lost = {where: lost_letters(text, weight) for where, text, weight in texts}
    places = [where for where, letters in lost.items() if letters]
    if places:
        yield (
            f"The contact sheet shows boxes for letters that no font here has ({some_of(''.join(lost.values()))}), in "
            f"{_listed(places)}. {ANOTHER_FONT}"
        )
    if not has_raqm() and any(reads_right_to_left(text) for _, text, _ in texts):
        yield "The contact sheet shows right-to-left letters neither joined nor in order: Pillow has no libraqm here."


def some_of(letters: str) -> str:
    """Return the first letters, each once, for a warning."""
    once = "".join(dict.fromkeys(letters))
    return once if len(once) <= SHOWN else f"{once[:SHOWN]}…"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
