"""The first stage: checks for all problems that would stop the run, before any work."""

from __future__ import annotations

from prefect import task
from prefect.logging import get_run_logger

from models.frames.setting_warnings import find_setting_warnings
from models.preflight.checks import require
from models.secrets.keys import Keys
from models.settings import StoryboardOptions
from tasks.retries import RETRYING


@task(name="checks", **RETRYING)
def check(options: StoryboardOptions) -> None:
    """Check packages, keys, weights, disk, output directory and device.

    Raises:
        ChecksFailed: holds all problems.
    """
    require(options, Keys())
    for warning in find_setting_warnings(options):
        get_run_logger().warning(warning)
    get_run_logger().info("all checks passed: profile %s, %s writer", options.profile, options.writer_name())
