"""A command line with the tiny models under FOLDER as a profile: MODULE FOLDER ARGUMENTS…, the module such as
flows.commands.storyboard."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import tiny_models

from models.profiles import PROFILES

if __name__ == "__main__":
    PROFILES["tiny"] = tiny_models.profile(Path(sys.argv[2]))
    importlib.import_module(sys.argv[1]).main(sys.argv[3:])
