"""The first stage: checks for all problems that would stop the run, before any work."""

from __future__ import annotations

from prefect import task
from prefect.logging import get_run_logger

from models.frames.render_config import RunSettings
from models.frames.setting_warnings import find_setting_warnings
from models.preflight.checks import require
from models.secrets.keys import Keys
from models.settings import StoryboardOptions
from tasks.retries import RETRYING


@task(name="checks", **RETRYING)
def check(options: StoryboardOptions, run: str) -> RunSettings:
    """Check packages, keys, weights, disk, output directory and device, and return the run's settings on this machine.

    Raises:
        ChecksFailed: holds all problems.
    """
    settings = require(options, Keys(), run)
    for warning in find_setting_warnings(options, settings.profile):
        get_run_logger().warning(warning)
    writer = options.writer_name(settings.profile)
    get_run_logger().info("all checks passed: profile %s, %s writer", options.profile, writer)
    return settings
