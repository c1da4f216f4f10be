"""python tests/tiny_command.py FOLDER ARGUMENTS…: the command line with the tiny models under FOLDER as a profile."""

from __future__ import annotations

import sys
from pathlib import Path

import tiny_models

from flows.command_line import main
from models.profiles import PROFILES

if __name__ == "__main__":
    PROFILES["tiny"] = tiny_models.profile(Path(sys.argv[1]))
    main(sys.argv[2:])
