"""The flow that makes a storyboard of a screenplay in Fountain or Final Draft's FDX, one panel a beat.

python -m flows.storyboard --script tale.fountain

screenplay ── checks ── weights ── scenes ── prompts ── models ── frames ── report
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.clock import Clock
from flows.logs import prepare_logs
from flows.outcome import failing_in_words, run_name
from flows.storyboard import THREADS, Anew, tell
from models.forms.form import UNSET
from models.forms.storyboard import StoryboardForm
from models.frames.render_config import RunSettings
from models.records import SceneBreakdown
from models.screenplay.options import options_for
from tasks.checks import check
from tasks.review import require_dashboard
from tasks.screenplay import keep_scenes, read_script

prepare_logs()


def _name() -> str:
    return run_name(Path(str(flow_run.parameters.get("script"))).name)


@flow(name="screenplay", flow_run_name=_name, task_runner=THREADS)
@failing_in_words
def screenplay(
    script: Annotated[str, Field(min_length=1, max_length=4096)],
    options: StoryboardForm = UNSET,
) -> str:
    """Make a storyboard of a screenplay, one panel for each action or exchange of words.

    Args:
        script: A .fountain or .fdx file on this machine, with up to 24 actions and exchanges.
        options: As for a storyboard. Frames are counted in the file, and no language model is asked.

    Returns:
        The storyboard's directory.
    """
    clock = Clock()
    with clock.stage("checks"):
        wanted = options_for(options)
        breakdown = read_script(script, wanted.get_profile())
        wanted = options_for(options, len(breakdown.scenes))
        require_dashboard(wanted)
        settings: RunSettings = check(wanted, str(flow_run.id))
    return tell(Played(wanted, settings, breakdown), clock)


@dataclass(frozen=True)
class Played(Anew):
    """A screenplay's scenes."""

    written: SceneBreakdown

    def scenes(self, board: Path) -> SceneBreakdown:
        """Return the screenplay's scenes."""
        return keep_scenes(self.written, board)
