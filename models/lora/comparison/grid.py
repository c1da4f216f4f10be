"""The comparison as people look at it: the grid on disk, a table, and the dashboard's markdown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from models.board.markdown import code, escape, inline_picture
from models.board.pages import reduced
from models.board.report import show_score
from models.errors import CorruptFile
from models.lora.comparison.grid_sheet import DECIMALS, TITLES, GridRow, GridTexts, draw_grid
from models.lora.records import CheckpointScores, Comparison
from models.storage.files import write_atomically

FILE = "comparison.jpg"


def write_grid(folder: Path, texts: GridTexts, rows: Sequence[GridRow], chosen: int) -> Path:
    """Draw the grid and write it into `folder` as a JPEG; see `draw_grid`.

    Raises:
        InputError: a picture is gone or broken.
        StorageError: the folder can't be written.
    """
    buffer = io.BytesIO()
    draw_grid(texts, rows, chosen).save(buffer, "JPEG", quality=85, optimize=True)
    write_atomically(folder.absolute() / FILE, buffer.getvalue())
    return folder.absolute() / FILE


def comparison_rows(comparison: Comparison) -> list[dict[str, str | int]]:
    """A row for every checkpoint, as a dashboard's table takes them."""
    return [_table_row(row, chosen=row.checkpoint == comparison.chosen) for row in comparison.rows]


def _table_row(row: CheckpointScores, *, chosen: bool) -> dict[str, str | int]:
    verdict = "reaches every bar" if not row.failed else f"fails {len(row.failed)}"
    validation = row.checkpoint.validation_loss
    return {
        "step": row.checkpoint.step,
        **{title: show_score(getattr(row, name), DECIMALS[name]) for name, title in TITLES.items()},
        "loss": f"{row.checkpoint.loss:.4f}",
        "validation loss": show_score(validation, 4),
        "verdict": f"chosen, {verdict}" if chosen else verdict,
        "why": "; ".join(row.failed),
    }


def comparison_markdown(comparison: Comparison, grid: bytes) -> str:
    """The choice as markdown that carries its picture.

    Args:
        comparison: what was measured and chosen.
        grid: bytes of its grid; a wide one is reduced, to keep the text small.

    Raises:
        CorruptFile: they are no picture.
    """
    parts = (
        f"**Chosen: step {comparison.chosen.step}.** {escape(comparison.reason)}",
        inline_picture(reduced(_open(grid)), "jpeg", "checkpoints side by side"),
        f"**The rule.** {escape(comparison.rule)}",
        f"The pictures lie beside {code(comparison.grid)}.",
    )
    return "\n\n".join(parts) + "\n"


def _open(grid: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(grid)).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise CorruptFile(f"the grid is not a readable picture ({error}); run the comparison again") from None
