"""The stages of a calibration."""

from __future__ import annotations

from prefect import task
from prefect.logging import get_run_logger

from models.calibration.measure import Calibrated, measure, page_of
from models.calibration.options import CalibrationOptions
from models.calibration.pictures import Folders, find_pictures
from models.errors import ChecksFailed
from models.frames.render_config import RenderConfig, RunSettings
from models.preflight.components import find_component_problems
from models.preflight.resolution import resolve
from models.settings import EMBEDDED, painters_here
from tasks.artifacts import show_page
from tasks.retries import RETRYING


@task(name="pictures", **RETRYING)
def read_folders(folder: str, options: CalibrationOptions) -> Folders:
    """Return the pictures of both folders.

    Raises:
        InputError: too few pictures, or a broken one.
    """
    folders = find_pictures(folder, options)
    if folders.repeated:
        get_run_logger().warning("%d pictures are there twice, and count once", folders.repeated)
    get_run_logger().info("%d pictures of him, %d of others", len(folders.his), len(folders.others))
    return folders


@task(name="checks", **RETRYING)
def check_models(options: CalibrationOptions, run: str) -> RunSettings:
    """Check that the models are there, and return the run's settings on this machine.

    Raises:
        ChecksFailed: holds all problems.
        InputError: no LoRA on this machine is named.
    """
    painting = options.painting()
    if (painters := painters_here()["painters"]) != EMBEDDED:
        get_run_logger().info("a calibration works in this process; the painters at %s are not asked", painters)
    if problems := list(find_component_problems(painting, painting.get_profile())):
        raise ChecksFailed(problems)
    return resolve(painting, painting.get_profile(), run)


@task(name="calibrate", **RETRYING)
def calibrate_on(folders: Folders, config: RenderConfig) -> Calibrated:
    """Measure the thresholds, write them beside the LoRA, and show their ROC.

    Raises:
        InputError: nothing tells the two sides apart.
        StorageError: the LoRA's folder can't be written.
    """
    log = get_run_logger()
    told = measure(
        folders, config, lambda done, count: done % 25 or log.info("looked at %d of %d pictures", done, count)
    )
    show_page("calibration", page_of(told), "Is it the same man?")
    if told.found < told.his:
        get_run_logger().warning(
            "he was found in %d of %d of his pictures; the others count whole", told.found, told.his
        )
    get_run_logger().info("AUC %.3f, likeness %.3f at least: %s", told.auc, told.least, told.file)
    return told
