"""The flow that measures what tells a character from other people and from copies.

python -m flows.calibrate data/images --others pictures/of-others

pictures ── checks ── weights ── load models ── calibrate
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before Prefect, which takes two seconds to import: --help and a wrong option are answered at once.
    from flows.commands.calibrate import main
    from flows.commands.collecting import run_program

    run_program(main)

from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from flows.logs import prepare_logs
from flows.outcome import completed, failing_in_words, run_name
from models.forms.calibration import CalibrationForm
from models.forms.form import UNSET
from tasks.calibration import calibrate_on, check_models, read_folders
from tasks.weights import fetch_weights, load_models

prepare_logs()


def _name() -> str:
    return run_name(f"calibration on {Path(str(flow_run.parameters.get('folder'))).name}")


@flow(name="calibrate-hero", flow_run_name=_name)
@failing_in_words
def calibrate_hero(
    folder: Annotated[str, Field(min_length=1, max_length=4096)],
    options: CalibrationForm = UNSET,
) -> str:
    """Measure thresholds on a character's pictures and on other people's, and keep them beside the character's LoRA.

    Storyboards that name this LoRA are judged by them.

    Args:
        folder: Folder of the character's pictures; captions beside them, as for training, help to find him.
        options: Folder of other people's pictures, LoRA, profile and device.

    Returns:
        The file of the thresholds.
    """
    folders = read_folders(folder, options)
    settings = check_models(options, str(flow_run.id))
    config = load_models(settings, fetch_weights(options.painting(), settings.profile))
    told = calibrate_on(folders, config)
    return completed(told.file, f"AUC {told.auc:.3f}, likeness {told.least:.3f} at least; {told.file}")
