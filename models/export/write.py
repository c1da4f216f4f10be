"""Writes a board's exports into its folder `exports`, each file whole or not at all."""

from __future__ import annotations

from pathlib import Path

from models.board.finished import reading
from models.export.archive import EXPORTS
from models.export.forms import FORMS
from models.export.options import ExportOptions
from models.export.order import bring_back
from models.export.panels import export_board
from models.records import Record
from models.storage.files import replacing


class Exported(Record):
    """What was written."""

    folder: str
    """Absolute path of the folder `exports`."""
    files: tuple[str, ...]
    """Names in it, in the order of the forms."""
    warnings: tuple[str, ...] = ()
    """What a file lacks, each a sentence."""
    ordered: str | None = None
    """What an edited timeline changed on the board; None without one."""


def write_exports(board: str | Path, options: ExportOptions) -> Exported:
    """Write a finished board in these forms, and return what was written.

    The board itself is only read, unless the options name an edited timeline, which is brought to it first.

    Raises:
        InputError: it is no board, unfinished, or was changed, or the timeline does not fit it; the message names the
            file.
        StorageError: a file can't be read or written; an earlier one of its name is unchanged.
    """
    warnings: list[str] = []
    ordered = None if options.order is None else str(bring_back(board, options.order))
    names = sorted(options.forms, key=lambda name: FORMS[name].last)
    with reading(board) as found:
        panels, folder = export_board(found, options.fps), Path(found.folder) / EXPORTS
        for name in names:
            with replacing(folder / FORMS[name].file) as file:
                warnings += FORMS[name].make(panels, options, file)
    files = tuple(FORMS[name].file for name in options.forms)
    told = tuple(dict.fromkeys(warnings))
    return Exported(folder=str(folder), files=files, warnings=told, ordered=ordered)
