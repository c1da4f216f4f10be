"""The command line: the same record as the flow's parameters, errors in one line, the directory as the last line."""

from __future__ import annotations

import argparse
import atexit
import difflib
import sys
from collections.abc import Callable
from typing import NoReturn

from pydantic import ValidationError
from pydantic_settings import CliApp, CliSettingsSource

from models.errors import StoryboardError
from models.settings import StoryboardCommand, StoryboardOptions, check_names, explain

USAGE_ERROR, FAILURE, INTERRUPTED = 2, 1, 130


class _Parser(argparse.ArgumentParser):
    """Tells a misspelt option which one is near."""

    def error(self, message: str) -> NoReturn:
        words = message.removeprefix("unrecognized arguments: ").split()
        if words and message.startswith("unrecognized") and words[0].startswith("-"):
            valid = [name for name in self._option_string_actions if name.startswith("--")]
            near = difflib.get_close_matches(words[0].split("=")[0], valid, n=1)
            hint = f"did you mean {near[0]}?" if near else f"valid options: {', '.join(sorted(valid))}"
            message = f"unknown option {words[0]}; {hint}"
        _stop(message, USAGE_ERROR)


def _stop(message: str, code: int) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


def parse(arguments: list[str]) -> StoryboardCommand:
    """The command line as a record. Exits with code 2 and one line if it is wrong, with 0 after --help."""
    parser = _Parser(prog=StoryboardCommand.model_config["cli_prog_name"], description=StoryboardCommand.__doc__)
    source: CliSettingsSource[_Parser] = CliSettingsSource(StoryboardCommand, root_parser=parser)
    try:
        check_names()
        return CliApp.run(StoryboardCommand, cli_args=arguments, cli_settings_source=source)
    except ValidationError as error:
        _stop(explain(error), USAGE_ERROR)
    except StoryboardError as error:
        _stop(str(error), USAGE_ERROR)


def main(storyboard: Callable[[str, StoryboardOptions], str], arguments: list[str] | None = None) -> None:
    """Run the storyboard flow; exit code 0 and the directory as the last line, or 1 and the error in one line."""
    command = parse(sys.argv[1:] if arguments is None else arguments)
    said: list[str] = []
    # Registered before Prefect starts its temporary server, and so run after it has said that it stopped.
    atexit.register(lambda: print(*said, sep="\n", end="\n" if said else "", flush=True))
    try:
        said.append(storyboard(command.story, command.options()))
    except KeyboardInterrupt:
        _stop("interrupted; run the same command again to go on", INTERRUPTED)
    except StoryboardError as error:
        _stop(str(error), FAILURE)
