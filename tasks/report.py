"""The last stages: compare the frames, and write the report to disk and to the dashboard."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from prefect import task
from prefect.logging import get_run_logger

from models.board.directory import REPORT_FILE, write_json
from models.board.pages import report_markdown, score_rows, sheet_markdown, write_sheet
from models.board.report import Report
from models.board.summary import summary_lines
from models.frames.generate import near_copies
from models.records import FrameResult
from tasks.artifacts import show_page, show_table
from tasks.progress import wait_for_bars
from tasks.retries import RETRYING


@task(name="compare frames", **RETRYING)
def find_near_copies(results: list[FrameResult]) -> dict[int, tuple[str, ...]]:
    """Return the accepted frames that are near copies of an earlier one: number -> pictures of all earlier frames."""
    copies = near_copies(results)
    if copies:
        get_run_logger().info("near copies of an earlier frame, painted again: %s", ", ".join(map(str, copies)))
    return copies


def show_board(report: Report, sheet: Image.Image) -> str:
    """Show scores and contact sheet in the dashboard instead of the bars, and return the sheet as markdown."""
    wait_for_bars()
    markdown = sheet_markdown(sheet)
    show_table("scores", score_rows(report), "Every attempt: seed, scores and verdict")
    show_page("contact-sheet", markdown, "All frames side by side")
    return markdown


@task(name="report", **RETRYING)
def write_report(report: Report, board: Path) -> Report:
    """Write the contact sheet and, last, report.json, which marks the board as finished; return the report.

    Raises:
        StorageError: the board can't be written.
    """
    sheet = write_sheet(report, board)
    show_page("report", report_markdown(report, board), "What was made, and how")
    show_board(report, sheet)
    write_json(board, REPORT_FILE, report)
    get_run_logger().info("\n%s", "\n".join(summary_lines(report, board)))
    return report
