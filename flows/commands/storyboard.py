"""The command that makes a storyboard; its last line is the storyboard's folder.

Prefect is imported after the arguments are parsed, so that --help and errors appear at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from flows.commands.command import Command, Instead, Shortcut, option_name, record_of
from flows.commands.running import Run, run
from models.edited.options import refuse_foreign
from models.errors import InputError
from models.forms.storyboard import FORM
from models.frames.render_config import needs_no_hub
from models.records import STORY_MAX_CHARACTERS
from models.screenplay.options import options_for
from models.secrets.keys import Keys
from models.settings import (
    EMBEDDED,
    StoryboardOptions,
    check_names,
    in_place_of_size,
    painters_here,
    read_story,
    with_environment,
)

SHORT_NAMES = {"temperature": "--temp"}
GONE = {"size": lambda side: in_place_of_size(side, option_name)}
VALUES = {
    **dict.fromkeys(("lora_path", "base", "controlnet", "vae", "clip", "turbo_lora"), "SOURCE"),
    "more_loras": "SOURCE[=STRENGTH]",
    "output_dir": "FOLDER",
    "device": "NAME",
    "writer_model": "NAME",
    "sketches": "N=FILE",
    "export": "FORM,FORM",
    "painters": "ADDRESS",
}
"""Placeholders of values in the help."""

CLOSING = """\
Every option can also be set in the environment or in a file .env: STORYBOARD_FRAMES=4.
The command line overrides the environment, that .env, and that the profile.
OPENAI_API_KEY and AWS keys are read only from there. All names are in .env.example.

Logs go to stderr, the new storyboard's folder to stdout. Exit codes: 0 it was made,
1 the run failed, 2 wrong input, 130 interrupted. Finished work is kept: the same command
again goes on from there.

examples:
  python -m flows.storyboard "Aldar Köse tricks a greedy merchant in the bazaar"
  python -m flows.storyboard "Алдар Көсе байды алдады" --frames 4 --seed 7
  python -m flows.storyboard "Aldar Köse outwits the khan" --profile sdxl --lora-path s3://studio/aldar --temp 0.7
  python -m flows.storyboard --from outputs/terminal_generation_20251019_052851
  python -m flows.storyboard --script tale.fountain --profile sdxl
  python -m flows.storyboard "Aldar Köse races a rider" --sketches 2=start.png --sketches 5=finish.png
"""


FROM, SCRIPT = "from", "script"
COMMAND = Command(
    module="flows.storyboard",
    usage="STORY [options]",
    description="Turn a one-line tale of Aldar Köse into a storyboard of consistent pictures.",
    forms=(FORM,),
    closing=CLOSING,
    arguments={
        "story": f"The tale in one line, in quotes, in any language, 1 to {STORY_MAX_CHARACTERS} characters; put -- "
        "before one that starts with a dash"
    },
    instead={
        FROM: Instead(
            "BOARD",
            "A storyboard's directory or exported ZIP, or the id of the flow run that made it: make a new one with its "
            "settings and its scene_breakdown.json as it is now. Only frames whose words changed are painted",
        ),
        SCRIPT: Instead(
            "FILE",
            "A screenplay in Fountain (.fountain) or Final Draft's FDX (.fdx), with up to 24 actions and exchanges",
        ),
    },
    surplus="only one story is expected, got {} too; put the story in quotes",
    values=VALUES,
    short_names=SHORT_NAMES,
    gone=GONE,
    shortcuts={"ref_guided": Shortcut("pipeline", "reference_guided")},
)


class Asked(NamedTuple):
    """The parsed command line."""

    flow: str
    what: str
    """The story, a board, or a screenplay's file."""
    options: StoryboardOptions
    paints: bool = True
    """Whether this process paints, and no painters elsewhere."""


def parse(arguments: list[str] | None = None) -> tuple[str, StoryboardOptions]:
    """Return the story and the options, including those from the environment; others stay unset."""
    asked = COMMAND.parse(arguments, _read)
    return asked.what, asked.options


def _read(values: dict[str, Any]) -> Asked:
    if FROM in values or SCRIPT in values:
        return _read_instead(values)
    if "story" not in values:
        raise InputError(
            'a story is needed: python -m flows.storyboard "Aldar Köse tricks a greedy merchant in the bazaar"'
        )
    options = with_environment(record_of(StoryboardOptions, values))
    return Asked("flows.storyboard:storyboard", read_story(values["story"]).text, options, _paints(options))


def _read_instead(values: dict[str, Any]) -> Asked:
    """Return a board to make again, whose own options count instead of the environment's, or a screenplay."""
    given = [f"--{name}" for name in (FROM, SCRIPT) if name in values]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} contradict each other: give one")
    if "story" in values:
        raise InputError(f"{given[0]} stands for the story: leave out {values['story']!r}")
    options = record_of(StoryboardOptions, values)
    if SCRIPT in values:
        options_for(options, called=option_name)
        return Asked("flows.screenplay:screenplay", values[SCRIPT], options, _paints(options))
    check_names()
    refuse_foreign(options, option_name)
    return Asked("flows.edit_board:edit_board", values[FROM], options, _paints(options))


def _paints(options: StoryboardOptions) -> bool:
    """Whether this process paints, by the options, else by the environment."""
    given = "painters" in options.model_fields_set
    return (options.painters if given else painters_here()["painters"]) == EMBEDDED


def main(arguments: list[str] | None = None) -> None:
    """Run the storyboard flow; exit with 0 and the directory as the last line, or with 1 and the error in one line."""
    asked = COMMAND.parse(arguments, _read)

    def check() -> None:
        from models.preflight.checks import require  # noqa: PLC0415

        if asked.flow.endswith(":storyboard"):
            require(asked.options, Keys())
        elif asked.flow.endswith(":screenplay"):
            from models.screenplay.scenes import write_scenes  # noqa: PLC0415

            own = options_for(asked.options)
            scenes = write_scenes(asked.what, own.get_profile())[0].scenes
            require(options_for(asked.options, len(scenes)), Keys())
        elif Path(asked.what).expanduser().exists():  # a run's id is looked up on the server
            from models.edited.plan import plan_edit  # noqa: PLC0415

            require(plan_edit(asked.what, asked.options).painting, Keys())

    is_local = asked.flow.endswith(":storyboard") and needs_no_hub(asked.options)
    to_go_on = "run the same command again to go on"
    run(Run(asked.flow, (asked.what, asked.options), to_go_on, check, is_local, asked.paints))
