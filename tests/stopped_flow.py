"""The command line on the tiny profile, in a process of its own that stands still in the middle of frame 4.

Frames 1 to 3 are painted before it and the others after it, whichever threads come first. Run by a test as
`python stopped_flow.py '{"models": folder, "painting": file, "story": text, "options": {…}}'`; the file `painting`
says that frame 4 has begun. It goes on once the flow has been told to stop. Without `painting` nothing stands still.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def main() -> None:
    """Register the profile, put the stop in, and hand over to the command line."""
    import tiny_models

    from flows.commands.storyboard import main as command_line
    from models.profiles import PROFILES

    given = json.loads(sys.argv[1])
    PROFILES["tiny"] = tiny_models.profile(Path(given["models"]))
    if "painting" in given:
        _stand_still(Path(given["painting"]), Path(given["options"]["output_dir"]))
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in given["options"].items()]
    command_line([given["story"], *arguments])


def _stand_still(painting: Path, output: Path) -> None:
    from flows import storyboard
    from models.diffusion import batcher

    paint_frames, paint_together, left = storyboard.paint_frames, batcher.paint_together, threading.Event()

    def watched(*arguments: Any) -> Any:
        try:
            return paint_frames(*arguments)
        finally:
            left.set()

    def patient(setup: Any, request: Any, on_progress: Callable[[float], None], *rest: Any) -> Any:
        def stop(share: float) -> None:
            painting.touch()
            left.wait()
            on_progress(share)

        number = request.seed // 1000
        if number == 4:
            while not all(list(output.glob(f"*/frame_00{earlier}.png")) for earlier in (1, 2, 3)):
                time.sleep(0.01)
        if number > 4:
            left.wait()
        return paint_together(setup, request, stop if number == 4 else on_progress, *rest)

    vars(storyboard)["paint_frames"], vars(batcher)["paint_together"] = watched, patient


# A shell starts what runs in its background with Ctrl-C ignored, and tests may run there.
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
