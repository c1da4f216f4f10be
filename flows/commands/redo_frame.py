"""The command line of redoing a frame: a board, a frame's number, what is to change; the board as the last line.

Prefect is imported after the arguments have been understood, so that --help and a wrong option are answered at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from flows.commands.command import Command, record_of
from flows.commands.running import Run, run
from models.errors import InputError
from models.forms.redo import FORM
from models.records import MAX_FRAMES
from models.redo.plan import RedoOptions, plan_redo
from models.secrets.keys import Keys
from models.settings import check_names

CLOSING = """\
The frame is painted as the board was, by the same models; if they have changed since,
nothing is painted. The other frames keep their bytes, and the picture that was there is
kept in the board's folder takes/. Prompts, contact sheet and report are made anew.
Redoing frame 1 compares the others with the new one, and paints none of them.

Logs go to stderr, the storyboard's folder to stdout. Exit codes: 0 it was redone,
1 the run failed and the board is as it was, 2 something that was given is wrong,
130 interrupted.

examples:
  python -m flows.redo_frame outputs/terminal_generation_20251019_052851 4
  python -m flows.redo_frame outputs/terminal_generation_20251019_052851 4 --seed 4072 --attempts 1
  python -m flows.redo_frame outputs/terminal_generation_20251019_052851 2 --sketch camel.png
  python -m flows.redo_frame 0199f6cc-52b3-7c3f-9c8e-6d5a2f0e8b41 3 --prompt "aldar_kose_man is riding a camel"
"""


COMMAND = Command(
    module="flows.redo_frame",
    usage="BOARD FRAME [options]",
    description="Redo one frame of a finished storyboard. With neither prompt, seed nor sketch the frame's next unused "
    "seed is taken.",
    forms=(FORM,),
    closing=CLOSING,
    arguments={
        "board": "The storyboard's directory, or the id of the flow run that made it",
        "frame": "Number of the frame, from 1 on",
    },
    surplus="one board and one frame are needed, and {} is a third; put a prompt in quotes",
    values={"sketch": "FILE", "device": "NAME"},
)


class Asked(NamedTuple):
    """What the command line asks for."""

    board: str
    frame: int
    options: RedoOptions


def parse(arguments: list[str] | None = None) -> Asked:
    """Board, frame and what is to change."""
    return COMMAND.parse(arguments, _read)


def _read(values: dict[str, Any]) -> Asked:
    if "frame" not in values:
        raise InputError("a board and a frame's number are needed: python -m flows.redo_frame FOLDER 4")
    check_names()
    return Asked(values["board"], _number(values["frame"]), record_of(RedoOptions, values))


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_FRAMES:
        raise InputError(f"frame: a number from 1 to {MAX_FRAMES} is needed, got {text!r}")
    return int(text)


def main(arguments: list[str] | None = None) -> None:
    """Run the redo-frame flow; exit code 0 and the directory as the last line, or 1 and the error in one line."""
    asked = parse(arguments)

    def check() -> None:
        from models.preflight.checks import require  # noqa: PLC0415

        if Path(asked.board).is_dir():  # a run's id is looked up on the server
            require(plan_redo(asked.board, asked.frame, asked.options).painting, Keys())

    run(Run("flows.redo_frame:redo_frame", asked, "the board is as it was; run the same command again to go on", check))
