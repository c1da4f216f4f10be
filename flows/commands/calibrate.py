"""The command that calibrates a character; its last line is the file of the thresholds.

Prefect is imported after the arguments are parsed, so that --help and errors appear at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flows.commands.command import Command, record_of
from flows.commands.running import Run, run
from models.calibration.options import CalibrationOptions
from models.errors import InputError
from models.forms.calibration import FORM
from models.settings import check_names

CLOSING = """\
He is found in each picture by the attention to his trigger word, and his crop is compared.
His pictures and the others should be in the manner that is painted: drawings, not
photographs, and others who are easily taken for him. At least four different pictures of
each are needed; seventy and a hundred and fifty were used for the offline profile. Copies
are made of his own pictures. Captions are read from .txt files of the same name.

The thresholds are written beside the LoRA: hero.json in its folder, or NAME.hero.json
beside a single file, and their ROC as a .png. A storyboard with this LoRA is then judged
by them: a frame whose hero is less like him than others are is painted again, and so is
one whose hero and surroundings are both too much like frame 1's.

Logs go to stderr, the file of the thresholds to stdout. Exit codes: 0 it was written,
1 the run failed, 2 wrong input, 130 interrupted.

examples:
  python -m flows.calibrate data/images --others pictures/of-others
  python -m flows.calibrate aldar/ --others others/ --profile sdxl --lora-path published/aldar
"""


COMMAND = Command(
    module="flows.calibrate",
    usage="FOLDER --others FOLDER [options]",
    description="Measure what tells a character from other people and from copies, and keep the thresholds beside his "
    "LoRA.",
    forms=(FORM,),
    closing=CLOSING,
    arguments={"folder": "Folder of the character's pictures"},
    surplus="only one folder is expected, got {} too; name other people's with --others",
    values={"others": "FOLDER", "lora_path": "PATH", "device": "NAME"},
)


class Asked(NamedTuple):
    """The parsed command line."""

    folder: str
    options: CalibrationOptions


def parse(arguments: list[str] | None = None) -> Asked:
    """Return folder and options."""
    return COMMAND.parse(arguments, _read)


def _read(values: dict[str, Any]) -> Asked:
    if "folder" not in values or "others" not in values:
        raise InputError("two folders are needed: python -m flows.calibrate FOLDER --others FOLDER")
    check_names()
    return Asked(values["folder"], record_of(CalibrationOptions, values))


def main(arguments: list[str] | None = None) -> None:
    """Run the calibrate-hero flow; exit with 0 and the file as the last line, or with 1 and the error in one line."""
    asked = parse(arguments)

    def check() -> None:
        from models.calibration.pictures import find_pictures  # noqa: PLC0415

        asked.options.painting()
        find_pictures(asked.folder, asked.options)

    run(Run("flows.calibrate:calibrate_hero", asked, "nothing was written; run the same command again", check))
