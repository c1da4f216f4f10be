"""The comparison as people see it: the grid, the table and the markdown, here of drawn pictures."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.board.contact_sheet import CLAY
from models.errors import CorruptFile, InputError
from models.lora.comparison.choice import NO_DRIFT, RULE, Measured
from models.lora.comparison.grid import comparison_markdown, comparison_rows, write_grid
from models.lora.comparison.grid_sheet import MOST_ROWS, GridRow, GridTexts, draw_grid
from models.lora.comparison.samples import Painted, Sample
from models.lora.records import Checkpoint, CheckpointScores, Comparison

STYLE = ", storybook illustration"


def texts(character: int = 4, unrelated: int = 4) -> GridTexts:
    """So many prompts of each kind, all in one style, in several scripts."""
    with_trigger = tuple(f"aldar_kose_man базарда, сурет {number}{STYLE}" for number in range(character))
    without = tuple(f"جمل في السوق {number}{STYLE}" for number in range(unrelated))
    return GridTexts("Checkpoints of aldar_kose_man", "one is the best", with_trigger, without)


def colour(row: int, column: int) -> tuple[int, int, int]:
    """Of the picture in this place; unlike paper, ink and letters."""
    return (0, 255 - 10 * row, 100 + 12 * column)


def rows(folder: Path, count: int, words: GridTexts, *, broken: int | None = None) -> list[GridRow]:
    """The base and so many checkpoints, whose pictures have a colour each; the second seed's are white."""
    white = folder / "white.png"
    Image.new("RGB", (64, 64), "white").save(white)
    made = []
    for row in range(count + 1):
        samples = []
        for column in range(len(words.character) + len(words.unrelated)):
            file = folder / f"{row}_{column}.png"
            Image.new("RGB", (64, 64), colour(row % 20, column)).save(file)
            first = Sample(file=str(file), finite=row != broken)
            samples.append((first, Sample(file=str(white), finite=True)))
        split = len(words.character)
        painted = Painted(step=100 * row, character=tuple(samples[:split]), unrelated=tuple(samples[split:]))
        scores = Measured(100 * row, 0.8, 0.25, 0.2, 0.5)
        made.append(GridRow(f"checkpoint-{100 * row}" if row else "base", scores, (), painted))
    return made


def packed(image: Image.Image) -> np.ndarray:
    """One number a pixel."""
    red, green, blue = (np.asarray(band, np.uint32) for band in image.split())
    return red << 16 | green << 8 | blue


def boxes(pixels: np.ndarray, wanted: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """Where a colour is: left, top, right, bottom."""
    found = np.nonzero(pixels == (wanted[0] << 16 | wanted[1] << 8 | wanted[2]))
    return None if not len(found[0]) else (found[1].min(), found[0].min(), found[1].max() + 1, found[0].max() + 1)


@pytest.mark.parametrize(("checkpoints", "character", "unrelated"), [(10, 4, 4), (1, 2, 1), (3, 5, 4)])
def test_every_picture_is_in_its_place(tmp_path: Path, checkpoints: int, character: int, unrelated: int) -> None:
    words = texts(character, unrelated)
    grid = draw_grid(words, rows(tmp_path, checkpoints, words), 1)
    assert grid.width <= 1600
    assert grid.height < 450 + 280 * (checkpoints + 1)
    pixels = packed(grid)
    found = [
        [boxes(pixels, colour(row, column)) for column in range(character + unrelated)]
        for row in range(checkpoints + 1)
    ]
    for row in found:
        there = [box for box in row if box]
        assert len(there) == len(row)
        assert sorted(there) == there, "columns go from left to right"
        assert all(box[3] - box[1] == box[2] - box[0] >= 100 for box in there)
    tops = [row[0][1] for row in found if row[0]]
    assert tops == sorted(tops)
    assert len({box[0] for row in found for box in row if box}) == character + unrelated
    assert boxes(pixels, (255, 255, 255)) is None, "the second seed is not shown"


def test_the_chosen_row_is_framed(tmp_path: Path) -> None:
    words = texts()
    made = rows(tmp_path, 3, words)
    for chosen in (1, 3):
        grid = draw_grid(words, made, chosen)
        frame, picture = boxes(packed(grid), CLAY), boxes(packed(grid), colour(chosen, 0))
        assert frame is not None
        assert picture is not None
        assert frame[1] < picture[1] < picture[3] < frame[3]
        assert frame[3] - frame[1] < 1.4 * (picture[3] - picture[1])
        assert frame[2] - frame[0] > grid.width - 50


def test_a_score_under_its_bar_is_red_and_a_broken_picture_marked(tmp_path: Path) -> None:
    words = texts()
    plain = rows(tmp_path, 2, words)
    failing = [plain[0], plain[1], plain[2]._replace(failed=("drift 0.30 is over 0.20 of what the base shows",))]
    first, second = packed(draw_grid(words, plain, 1)), packed(draw_grid(words, failing, 1))
    top = (boxes(first, colour(2, 0)) or (0, 0, 0, 0))[1]
    assert boxes(first[top:], CLAY) is None
    assert boxes(second[top:], CLAY) is not None
    broken = packed(draw_grid(words, rows(tmp_path, 2, words, broken=2), 1))
    assert boxes(broken[top:], CLAY) is not None


def test_of_many_checkpoints_and_prompts_some_are_shown_the_chosen_one_always(tmp_path: Path) -> None:
    words = texts(14, 6)
    made = rows(tmp_path, 40, words)
    chosen = 20  # not among those that even thinning keeps
    marked = made[chosen].painted.character[0][0].file
    Image.new("RGB", (64, 64), (255, 0, 255)).save(marked)
    grid = draw_grid(words, made, chosen)
    assert boxes(packed(grid), (255, 0, 255)) is not None
    assert grid.width <= 1600
    assert grid.height < 400 + 180 * (MOST_ROWS + 1)


def test_the_grid_is_written_as_a_jpeg(tmp_path: Path) -> None:
    words = texts()
    made = rows(tmp_path, 2, words)
    file = write_grid(tmp_path / "out", words, made, 1)
    with Image.open(file) as written:
        assert written.format == "JPEG"
        assert written.size == draw_grid(words, made, 1).size
    Path(made[1].painted.character[2][0].file).unlink()
    with pytest.raises(InputError, match=r"1_2\.png"):
        write_grid(tmp_path / "out", words, made, 1)


def comparison(grid: str = "/somewhere/comparison.jpg") -> Comparison:
    """Two checkpoints, of which the first reaches every bar."""
    first = Checkpoint(path="/c/checkpoint-100", step=100, loss=0.123456)
    second = Checkpoint(path="/c/checkpoint-200", step=200, loss=0.1, validation_loss=0.2)
    scores = {"text_image_similarity": 0.25, "variety": 0.2, "drift": 0.5}
    passing = CheckpointScores(checkpoint=first, image_similarity=0.8, **scores)
    failing = CheckpointScores(
        checkpoint=second, image_similarity=0.8765, failed=("drift is over", "variety is under"), **scores
    )
    return Comparison(rows=(passing, failing), chosen=first, reason="it is the best", rule=RULE, grid=grid)


def test_the_table_has_a_row_for_every_checkpoint() -> None:
    first, second = comparison_rows(comparison())
    assert first == {
        "step": 100,
        "image similarity": "0.800",
        "text–image similarity": "0.250",
        "variety": "0.200",
        "drift": "0.50",
        "loss": "0.1235",
        "validation loss": "–",
        "verdict": "chosen, reaches every bar",
        "why": "",
    }
    assert (second["image similarity"], second["validation loss"], second["verdict"]) == ("0.876", "0.2000", "fails 2")
    assert second["why"] == "drift is over; variety is under"


def test_a_score_that_was_not_measured_is_a_dash_and_never_a_number(tmp_path: Path) -> None:
    told = comparison()
    unmeasured = told.rows[0].model_copy(update={"drift": None, "failed": (NO_DRIFT,)})
    row = comparison_rows(told.model_copy(update={"rows": (unmeasured, told.rows[1])}))[0]
    assert (row["drift"], row["why"]) == ("–", NO_DRIFT)
    words = texts(2, 2)
    made = rows(tmp_path, 1, words)
    none = made[1]._replace(scores=made[1].scores._replace(drift=None), failed=(NO_DRIFT,))
    drawn = [draw_grid(words, [made[0], row], 1) for row in (made[1], none)]
    assert drawn[0].size == drawn[1].size
    assert drawn[0].tobytes() != drawn[1].tobytes()


def test_the_markdown_carries_the_grid_the_rule_and_the_reason() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1600, 2000), "white").save(buffer, "JPEG")
    markdown = comparison_markdown(comparison(), buffer.getvalue())
    assert "**Chosen: step 100.** it is the best" in markdown
    assert RULE in markdown
    (data,) = re.findall(r"\]\(data:image/jpeg;base64,([A-Za-z0-9+/=]+)\)", markdown)
    with Image.open(io.BytesIO(base64.b64decode(data))) as shown:
        assert shown.size == (1200, 1500)
    with pytest.raises(CorruptFile, match="run the comparison again"):
        comparison_markdown(comparison(), b"no picture")
