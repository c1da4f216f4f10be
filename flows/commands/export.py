"""The command that exports a board; its last line is the folder of the exports.

Prefect is imported after the arguments are parsed, so that --help and errors appear at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from flows.commands.command import Command, option_name, record_of
from flows.commands.running import Run, run
from models.errors import InputError
from models.export.options import ExportOptions
from models.forms.export import FORM
from models.secrets.keys import Keys
from models.settings import check_names, explain

CLOSING = """\
pdf: pages to print and to comment on. html: one web page with a player. xlsx, csv: the
shot list, with thumbnails and plain. srt, vtt: subtitles. zip: the storyboard and its
exports for another machine. mp4, webm: a film. otio, fcpxml, edl: timelines for editors.
vistorybench: frames and story for that benchmark's evaluator.

The files are written into the folder exports/ of the storyboard, each whole or not at
all. The storyboard itself is only read, after its files are checked. Only --order
changes it: its scene_breakdown.json takes order and seconds of an edited .otio file.

Logs go to stderr, the folder of the exports to stdout. Exit codes: 0 all were written,
1 the run failed, 2 wrong input, 130 interrupted.

examples:
  python -m flows.export outputs/terminal_generation_20251019_052851 --as pdf,html
  python -m flows.export outputs/terminal_generation_20251019_052851 --as pdf --paper Letter --panels-per-page 12
  python -m flows.export outputs/terminal_generation_20251019_052851 --order edited.otio --as mp4 --fps 25
  python -m flows.export 0199f6cc-52b3-7c3f-9c8e-6d5a2f0e8b41 --as zip
"""


COMMAND = Command(
    module="flows.export",
    usage="BOARD [--as FORM,FORM] [options]",
    description="Write a finished storyboard as PDF, shot list, web page, subtitles, film, timeline or ZIP.",
    forms=(FORM,),
    closing=CLOSING,
    arguments={"board": "The storyboard's directory, or the id of the flow run that made it"},
    surplus="only one board is expected, got {} too; give forms with --as pdf,html",
    values={"forms": "FORM,FORM"},
    short_names={"forms": "--as"},
)


class Asked(NamedTuple):
    """The parsed command line."""

    board: str
    options: ExportOptions


def parse(arguments: list[str] | None = None) -> Asked:
    """Return board and options."""
    return COMMAND.parse(arguments, _read)


def _read(values: dict[str, Any]) -> Asked:
    if "board" not in values:
        raise InputError("a storyboard is needed: python -m flows.export FOLDER --as pdf,html")
    check_names()
    try:
        return Asked(values["board"], record_of(ExportOptions, values))
    except ValidationError as error:
        raise InputError(explain(error, lambda name: "--as" if name == "forms" else option_name(name))) from None


def main(arguments: list[str] | None = None) -> None:
    """Run the export-board flow; exit with 0 and the folder as the last line, or with 1 and the error in one line."""
    asked = parse(arguments)

    def check() -> None:
        from models.board.finished import read_board  # noqa: PLC0415
        from models.export.order import read_timeline  # noqa: PLC0415
        from models.origin.signing import find_signing_problem  # noqa: PLC0415

        if Path(asked.board).exists() or "/" in asked.board:  # a run's id is looked up on the server
            read_board(asked.board)
        if asked.options.order is not None:
            read_timeline(Path(asked.options.order))
        problem = find_signing_problem(Keys()) if "mp4" in asked.options.forms else None
        if problem:
            raise InputError(problem)

    again = "run the same command again: it writes all files anew"
    run(Run("flows.export:export_board", asked, again, check, paints=False))
