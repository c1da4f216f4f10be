"""Two that change one board at once: the second waits, and is told for whom."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest
from test_redo_settings import job_of
from waiting import until
from written_boards import WEIGHTS, noise, render_config_of, write_board

from models.board.finished import changing
from models.errors import InputError
from models.frames.generate import generate, store_candidate
from models.redo.plan import RedoOptions, plan_redo, prepare_frame
from models.redo.replace import replace_frame
from models.scores import Scores


def test_the_second_waits_and_is_told_who_holds_the_board(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    board, done = write_board(tmp_path), list[str]()

    def second() -> None:
        with changing(board) as folder:
            done.append((folder / "note.txt").read_text("utf-8"))

    waiting = threading.Thread(target=second)
    with caplog.at_level(logging.WARNING), changing(board) as folder:
        waiting.start()
        until(lambda: f"waiting for {board}, which is being changed by process {os.getpid()} on " in caplog.text)
        (folder / "note.txt").write_text("the first was here", "utf-8")
    waiting.join()
    assert done == ["the first was here"]
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".store", f".{board.name}.lock"]


def test_a_second_redo_with_the_same_seed_says_that_the_first_was_quicker(tmp_path: Path) -> None:
    board = write_board(tmp_path)
    redo = plan_redo(board, 2, RedoOptions())
    job = prepare_frame(redo, render_config_of(redo.painting, WEIGHTS))
    store_candidate(job, 0, noise(redo.seed, job.render_config.size), Scores(consistency=0.9, prompt=0.9))
    result = generate(job)
    assert replace_frame(redo, job, result).frames[1].seed == 2052
    with pytest.raises(InputError, match=r"^frame 2: another redo painted the same picture meanwhile, seed 2052"):
        replace_frame(redo, job, result)
    assert job_of(board, 2).render_config.base_seed == 62
