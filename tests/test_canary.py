"""What people write makes no browser ask another server: a canary listens while both UIs show all kinds of pages."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from listening import listening
from pages_server import Browse, runs_on
from PIL import Image
from playwright.sync_api import Page
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from test_board import report, result
from test_review_form import FIRST, SECOND
from test_run_form import ask
from test_training_grid import comparison

from models.board.markdown import code, escape
from models.board.pages import report_markdown
from models.book.index import Book, Chapter, book_markdown
from models.lora.comparison.grid import comparison_markdown
from models.lora.data.set_sheet import set_markdown
from models.lora.records import TrainingPicture, TrainingSet
from models.review.answers import with_problem
from tasks.artifacts import show_page, show_table
from tasks.progress import Bar

WAITS, WAIT_MS = 300, 100
"""How often a page that has not shown something is looked at again, and after how long."""


def traps(canary: str) -> str:
    """Text that names the canary in every way that some markdown fetches."""
    return (
        f"![a]({canary}/md) <img src='{canary}/html'> ![b][r] &lt;img src={canary}/entity&gt; "
        f"$\\includegraphics{{{canary}/katex}}$ `x` ![c]({canary}/after-code) "
        f"<svg><image href='{canary}/svg'/></svg>\n\n[r]: {canary}/reference\n\n![b][r]"
    )


def pages_of(words: str, grid: bytes) -> dict[str, str]:
    """Every kind of page that the dashboard shows, with these words wherever people's text stands."""
    line = " ".join(words.split())
    told = report([result(1, None), result(2, 0.7)]).model_copy(update={"title": words, "story": line, "writer": line})
    frames = tuple(
        frame.model_copy(update={"scene": frame.scene.model_copy(update={"caption": line}), "prompt": line})
        for frame in told.frames
    )
    chapters = (
        Chapter(story=line, state="failed", error=words),
        Chapter(story="x", state="made", directory=f"/{words}"),
    )
    chosen = comparison(f"/{words}").model_copy(update={"reason": words, "rule": words})
    picture = TrainingPicture(file=f"/{line}/{line}.png", sha256="0" * 64, width=8, height=8, caption=line)
    pictures = TrainingSet(folder=f"/{line}", train=(picture,), passed_over=(words,))
    return {
        "report": report_markdown(told.model_copy(update={"frames": frames}), Path(f"/{line}")),
        "book": book_markdown(Book(folder=f"/{line}", chapters=chapters)),
        "grid": comparison_markdown(chosen, grid),
        "pictures": set_markdown(pictures, b""),
        "review": with_problem("", words),
    }


@pytest.fixture(scope="module")
def grid() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    return buffer.getvalue()


def show(key: str, words: str, grid: bytes) -> str:
    """Everything that the dashboard shows of a run, with these words in it."""
    for kind, page in pages_of(words, grid).items():
        show_page(f"{key}-{kind}", page, words)
    show_table(f"{key}-table", [{"frame": 1}], words)
    Bar(f"{key}-bar", words).move(50, words)
    return words


def show_raw(key: str, words: str) -> None:
    """The words themselves."""
    create_markdown_artifact(key=key, markdown=words)


def look_at_all(
    browse: Browse, url: str, ui: str, key: str, run: str, shown: Callable[[], bool] = lambda: True
) -> None:
    """Open the pages of every artifact whose key begins so, the list of them, and the run's page.

    Each page is open until its network is idle and `shown` is true.
    """
    found = [one for one in ask(url, "artifacts/filter", {}) if str(one["key"]).startswith(key)]
    assert found

    def look(page: Page) -> None:
        page.goto(f"{url}{ui}/artifacts")
        page.get_by_text(found[0]["key"]).first.wait_for()
        page.goto(f"{url}{ui}/runs/flow-run/{run}")
        page.get_by_text("Completed").first.wait_for()
        for one in found:
            for path in (f"artifacts/artifact/{one['id']}", f"artifacts/key/{one['key']}"):
                page.goto(f"{url}{ui}/{path}")
                page.get_by_text(one["key"]).first.wait_for()
                page.wait_for_load_state("networkidle")
                for _ in range(WAITS):
                    if shown():
                        break
                    page.wait_for_timeout(WAIT_MS)

    browse(look)


@pytest.mark.parametrize("ui", [FIRST, SECOND], ids=["first UI", "second UI"])
def test_nothing_that_people_write_is_fetched(pages_server: str, browse: Browse, grid: bytes, ui: str) -> None:
    tag = "first" if ui == FIRST else "second"
    with listening() as (canary, asked), runs_on(pages_server):
        words = traps(canary)
        canary_flow = flow(name="canary", flow_run_name=lambda: words)(show)
        shown = canary_flow(f"canary-{tag}", words, grid, return_state=True)
        look_at_all(browse, pages_server, ui, f"canary-{tag}-", str(shown.state_details.flow_run_id))
        assert asked == []
        # What is not escaped is fetched, so that the canary does hear.
        control = flow(name="control")(show_raw)(f"control-{tag}", words, return_state=True)
        run = str(control.state_details.flow_run_id)
        look_at_all(browse, pages_server, ui, f"control-{tag}", run, lambda: "/md" in asked)
        assert "/md" in asked


@pytest.mark.parametrize("text", ["a`b", "``", "`a", "plain", "two\nlines"])
def test_code_and_text_are_one_line_each(text: str) -> None:
    assert "\n" not in code(text) + escape(text)
    fence = code(text).partition(" ")[0] if "`" in text else "`"
    assert fence.strip("`") == ""
    assert fence not in text


def test_words_without_marks_stay_as_they_are() -> None:
    assert escape("Aldar's 3 coins: (all) of them, 50 %!") == "Aldar's 3 coins: (all) of them, 50 %!"
