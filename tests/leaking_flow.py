"""A terminal run in which everything fails with a secret in its mouth, and a storyboard whose writer repeats the key.

Run by a test as `python leaking_flow.py '{"models": folder, "story": text, "options": {…}}'`, with secrets in the
environment. Each function of leaking_failures.py is a task of one flow.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from leaking_failures import AWS, CREDENTIALS, DEAD, FAILURES, KEY  # noqa: E402

ANSWER = {
    "title": f"The coat of {KEY}",
    "cast": [],
    "scenes": [
        {
            "caption": f"Aldar shows {KEY}.",
            "action": "is walking",
            "cast": [],
            "place": "bazaar",
            "time": "by day",
            "shot": "middle shot",
            "things": [],
        }
    ],
}


def leak() -> None:
    """Each failure as a task; then logs, artifacts and prints of the same."""
    from prefect import flow, task
    from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
    from prefect.logging import get_run_logger

    @flow(name="leaks", flow_run_name=f"leak {AWS}")
    def leaks(given: str) -> None:
        for function in FAILURES:
            task(name=function.__name__)(function)(return_state=True)
        create_markdown_artifact(key="page", markdown=f"# {KEY}\n{DEAD}", description=AWS)
        create_table_artifact(key="table", table=[{"key": KEY, "address": DEAD}])
        create_link_artifact(key="link", link=f"{DEAD}/?key={AWS}")
        logger = get_run_logger()
        logger.warning("a log of %s and %r at %s", KEY, {"key": AWS}, DEAD)
        logger.error("arguments that do not fit: %d", KEY)
        logging.getLogger("models.secrets.keys").warning("a log of models: %s", KEY)
        warnings.warn(f"a warning of {KEY}", stacklevel=1)
        sys.stdout.write(f"printed {KEY}\n")
        sys.stderr.write(f"printed {AWS}\n")
        raise ValueError(f"the end of {given}")

    leaks(KEY, return_state=True)


def paint(given: dict[str, Any]) -> str:
    """A storyboard on the tiny profile, by a writer that repeats the key."""
    import openai_server
    import tiny_models

    from flows.storyboard import storyboard
    from models.profiles import PROFILES
    from models.settings import StoryboardOptions

    PROFILES["tiny"] = tiny_models.profile(Path(given["models"]))
    with openai_server.serving(openai_server.completion(json.dumps(ANSWER))) as server:
        os.environ["OPENAI_BASE_URL"] = server.base_url.replace("//", f"//{CREDENTIALS}@")
        return storyboard(given["story"], StoryboardOptions.model_validate(given["options"]))


def leak_and_paint() -> str:
    """Leak, paint, and end with an error that nobody catches."""
    from flows.logs import prepare_logs

    prepare_logs()
    leak()
    paint(json.loads(sys.argv[1]))
    raise RuntimeError(f"uncaught {KEY} at {DEAD}")


def main() -> None:
    """Run it as a command does."""
    from flows.commands.running import Run, run

    run(Run("__main__:leak_and_paint", (), "go on", lambda: None, quiet=False))


if __name__ == "__main__":
    main()
