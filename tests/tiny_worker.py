"""One process of several of a training, on the tiny profile: WORLD FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import tiny_models

from models.lora.training import worker
from models.profiles import PROFILES

if __name__ == "__main__":
    PROFILES["tiny"] = tiny_models.profile(Path(sys.argv[1]))
    worker.main(Path(sys.argv[2]))
