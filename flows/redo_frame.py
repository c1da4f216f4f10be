"""The flow that replaces one frame of a finished storyboard.

python -m flows.redo_frame outputs/terminal_generation_20251019_052851 4 --seed 7

board ── checks ── weights ── load models ── prompt ── frame ── report
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before Prefect, which takes two seconds to import: --help and a wrong option are answered at once.
    from flows.commands.collecting import run_program
    from flows.commands.redo_frame import main

    run_program(main)

import tempfile
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.logs import prepare_logs
from flows.outcome import completed, failing_in_words, run_name
from models.board.report import outcome
from models.forms.form import UNSET
from models.forms.redo import RedoForm
from models.records import MAX_FRAMES, FrameResult
from tasks.checks import check
from tasks.frames import SPARE_RETRIES, generate_frame
from tasks.painters import show_painters
from tasks.redo import find_frame, prepare, put_on_board, put_words_on_board
from tasks.weights import fetch_weights, load_models

prepare_logs()


def _name() -> str:
    given = flow_run.parameters
    return run_name(f"frame {given.get('frame')} of {Path(str(given.get('board'))).name}")


@flow(name="redo-frame", flow_run_name=_name)
@failing_in_words
def redo_frame(
    board: Annotated[str, Field(min_length=1, max_length=4096)],
    frame: Annotated[int, Field(ge=1, le=MAX_FRAMES)],
    options: RedoForm = UNSET,
) -> str:
    """Redo one frame of a finished storyboard. The other frames stay unchanged, and the old picture is kept.

    Args:
        board: The storyboard's directory, or the id of the flow run that made it or redid a frame of it.
        frame: Number of the frame. If it is 1, the others are compared with the new frame 1.
        options: The changes. Without prompt, scene, seed and sketch the next unused seed is taken.

    Returns:
        The storyboard's directory.
    """
    redo = find_frame(board, frame, options)
    if not redo.paints:
        return completed(redo.board.folder, f"frame {frame}: words changed; {outcome(put_words_on_board(redo))}")
    settings = check(redo.painting, str(flow_run.id))
    render_config = load_models(settings, fetch_weights(redo.painting, settings.profile))
    job = prepare(redo, render_config)
    paint = generate_frame.with_options(retries=render_config.attempts - 1 + SPARE_RETRIES)
    with tempfile.TemporaryDirectory() as scratch:  # the board itself is changed last
        result: FrameResult = paint(job, Path(scratch))
    show_painters(render_config.run)
    report = put_on_board(redo, job, result)
    return completed(redo.board.folder, f"frame {frame} redone; {outcome(report)}")
