"""What warm painters did for a run: how many there were, and how long its frames waited, behind how many others."""

from __future__ import annotations

from typing import Any

from prefect.logging import get_run_logger

from models.frames.generate import FrameJob
from models.frames.render_config import RunSettings
from models.painters.choose import painter
from models.painters.painter import Turnaround
from models.settings import EMBEDDED
from tasks.artifacts import show_table

KEY = "painters"
"""Of the run's artifact."""
_COUNTS: dict[str, int | None] = {}
"""Run -> the painters that there were when it loaded its models."""
_ROWS: dict[str, list[dict[str, Any]]] = {}
"""Run -> its artifact's row of each painted candidate."""


def count_painters(settings: RunSettings) -> None:
    """Log how many warm painters there are, if the run uses any, and keep it for the run's artifact."""
    if settings.painters != EMBEDDED:
        count = _COUNTS[settings.run] = painter(settings.painters).count()
        get_run_logger().info("%s at %s", _in_words(count), settings.painters)


def note_turnaround(job: FrameJob, took: Turnaround) -> None:
    """Log what a candidate took at a warm painter, and keep it for the run's artifact."""
    config = job.render_config
    if config.painters == EMBEDDED:
        return
    behind = f" behind {took.ahead} other frame{'s' if took.ahead > 1 else ''}" if took.ahead else ""
    get_run_logger().info(
        "waited %.1f s for a painter%s, painted and scored in %.1f s", took.waiting, behind, took.painting
    )
    row = {
        "frame": job.number,
        "frames before it": took.ahead,
        "seconds waiting": round(took.waiting, 1),
        "seconds painting": round(took.painting, 1),
    }
    _ROWS.setdefault(config.run, []).append(row)


def show_painters(run: str) -> None:
    """Show what each candidate took at warm painters, if they painted any."""
    rows, count = sorted(_ROWS.pop(run, []), key=lambda row: row["frame"]), _COUNTS.pop(run, None)
    if rows:
        waiting, painting = (sum(row[name] for row in rows) for name in ("seconds waiting", "seconds painting"))
        longest = max(row["frames before it"] for row in rows)
        show_table(
            KEY,
            rows,
            f"{_in_words(count)}. Frames waited {waiting:.1f} s, behind up to {longest} others of all runs, and were "
            f"painted in {painting:.1f} s.",
        )


def _in_words(count: int | None) -> str:
    if count is None:
        return "warm painters (nobody says how many)"
    return f"{count} warm painter{'s' if count != 1 else ''}"
