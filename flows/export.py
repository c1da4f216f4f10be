"""The flow that writes a finished storyboard in forms for other people and programs.

python -m flows.export outputs/terminal_generation_20251019_052851 --as pdf,xlsx,html

board ── export
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before Prefect, which takes two seconds to import: --help and a wrong option are answered at once.
    from flows.commands.collecting import run_program
    from flows.commands.export import main

    run_program(main)

from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.logs import prepare_logs
from flows.outcome import completed, failing_in_words, run_name
from models.forms.export import ExportOptionsForm
from models.forms.form import UNSET
from tasks.export import export_files
from tasks.redo import find_board

prepare_logs()


def _name() -> str:
    return run_name(f"export of {Path(str(flow_run.parameters.get('board'))).name}")


@flow(name="export-board", flow_run_name=_name)
@failing_in_words
def export_board(
    board: Annotated[str, Field(min_length=1, max_length=4096)],
    options: ExportOptionsForm = UNSET,
) -> str:
    """Write a finished storyboard as PDF, shot list, web page, subtitles, film, timeline or ZIP.

    The storyboard stays unchanged, unless an edited timeline is given: its order and seconds are brought to it first.

    Args:
        board: The storyboard's directory, or the id of the flow run that made it or redid a frame of it.
        options: The forms, and how pages and films look. Without any: pdf and html.

    Returns:
        The folder `exports` in the storyboard's directory.
    """
    exported = export_files(find_board(board), options)
    return completed(exported.folder, f"exported: {', '.join(exported.files)}")
