"""The command that redoes a frame; its last line is the board's folder.

Prefect is imported after the arguments are parsed, so that --help and errors appear at once.
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
from models.settings import EMBEDDED, check_names, painters_here

CLOSING = """\
The frame is painted with the board's settings and models; if the models have changed
since, nothing is painted. The other frames stay unchanged, and the old picture is kept
in the board's folder takes/. Prompts, contact sheet and report are written again.
Redoing frame 1 compares the others with the new one, and paints none of them.

Logs go to stderr, the storyboard's folder to stdout. Exit codes: 0 the frame was redone,
1 the run failed and the board is unchanged, 2 wrong input, 130 interrupted.

examples:
  python -m flows.redo_frame outputs/terminal_generation_20251019_052851 4
  python -m flows.redo_frame outputs/terminal_generation_20251019_052851 4 --seed 4072 --attempts 1
  python -m flows.redo_frame outputs/terminal_generation_20251019_052851 2 --sketch camel.png
  python -m flows.redo_frame outputs/terminal_generation_20251019_052851 3 --scene "shot size: CU" --scene "seconds: 4"
  python -m flows.redo_frame 0199f6cc-52b3-7c3f-9c8e-6d5a2f0e8b41 3 --prompt "aldar_kose_man is riding a camel"
"""


COMMAND = Command(
    module="flows.redo_frame",
    usage="BOARD FRAME [options]",
    description="Redo one frame of a finished storyboard. Without prompt, scene, seed and sketch the frame's "
    "next unused seed is taken.",
    forms=(FORM,),
    closing=CLOSING,
    arguments={
        "board": "The storyboard's directory, or the id of the flow run that made it",
        "frame": "Number of the frame, from 1 on",
    },
    surplus="only a board and a frame's number are expected, got {} too; put a prompt in quotes",
    values={"scene": "CHANGE", "sketch": "FILE", "device": "NAME"},
)


class Asked(NamedTuple):
    """The parsed command line."""

    board: str
    frame: int
    options: RedoOptions


def parse(arguments: list[str] | None = None) -> Asked:
    """Return board, frame and changes."""
    return COMMAND.parse(arguments, _read)


def _read(values: dict[str, Any]) -> Asked:
    if "frame" not in values:
        raise InputError("a board and a frame's number are needed: python -m flows.redo_frame FOLDER 4")
    check_names()
    painters_here()  # refuses a wrong address
    return Asked(values["board"], _number(values["frame"]), record_of(RedoOptions, values))


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_FRAMES:
        raise InputError(f"frame: expected a number from 1 to {MAX_FRAMES}, got {text!r}")
    return int(text)


def main(arguments: list[str] | None = None) -> None:
    """Run the redo-frame flow; exit with 0 and the directory as the last line, or with 1 and the error in one line."""
    asked = parse(arguments)

    def check() -> None:
        from models.preflight.checks import require  # noqa: PLC0415

        if Path(asked.board).is_dir():  # a run's id is looked up on the server
            require(plan_redo(asked.board, asked.frame, asked.options).painting, Keys())

    to_go_on = "the board is unchanged; run the same command again to go on"
    paints = painters_here()["painters"] == EMBEDDED
    run(Run("flows.redo_frame:redo_frame", asked, to_go_on, check, paints=paints))
