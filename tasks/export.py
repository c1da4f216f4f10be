"""The stage that writes a board's exports."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger

from models.board.markdown import code, escape
from models.export.forms import FORMS
from models.export.options import ExportOptions
from models.export.write import Exported, write_exports
from tasks.artifacts import show_page
from tasks.retries import RETRYING


@task(name="export", **RETRYING)
def export_files(board: Path, options: ExportOptions) -> Exported:
    """Write the board in these forms into its folder `exports`, and return what was written.

    Raises:
        InputError: it is no board, unfinished, or was changed; the message names the file.
        StorageError: a file can't be written.
    """
    exported = write_exports(board, options)
    show_page("exports", _markdown(exported, options), "What was exported")
    if exported.ordered is not None:
        get_run_logger().info("from the timeline: %s", exported.ordered)
    for warning in exported.warnings:
        get_run_logger().warning("%s", warning)
    get_run_logger().info("exported to %s: %s", exported.folder, ", ".join(exported.files))
    return exported


def _markdown(exported: Exported, options: ExportOptions) -> str:
    rows = (f"| {code(FORMS[name].file)} | {FORMS[name].about} |" for name in options.forms)
    head = (f"- **Folder:** {code(exported.folder)}", *(f"- **Warning:** {escape(each)}" for each in exported.warnings))
    return "\n".join((*head, "", "| file | what it is |", "| --- | --- |", *rows)) + "\n"
