"""The work pool and its watchdog as data, without requests to a server.

The pool has one slot per GPU. A run holds a slot from Pending until it ends; the others wait in order, the interactive
queue first. A worker takes one run at a time, and sees one GPU.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture, ResourceSpecification
from prefect.client.schemas.objects import StateType
from prefect.workers.process import ProcessWorker

POOL = "gpu"
POOL_TYPE = "process"
POOL_DESCRIPTION = "One slot for each GPU; without GPUs one for the CPU."

QUEUES = {
    "interactive": (1, "Storyboards: a person waits for them."),
    "batch": (2, "Trainings and what runs at night: taken when no storyboard waits."),
    "default": (3, "Runs that name no queue."),
}
"""Name -> priority (1 is taken first) and what it is for."""

RUN_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_CLIENT_MAX_RETRIES": "7",  # bridges a server's absence of four minutes: 2 + 4 + … + 128 seconds
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",  # besides 429, 502 and 503: of a server with too much to do
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "models,diffusers",
    "PREFECT_LOGGING_ROOT_LEVEL": "INFO",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES": "false",
}
"""Environment of every run's process, besides the worker's own. The server stores it, so it must hold no secrets."""

SILENCE = timedelta(seconds=150)
"""Time without heartbeat after which a run counts as crashed. It covers a server's absence of one minute, the interval
of heartbeats, and the start of a run's process."""
SIGNS_OF_LIFE = ("heartbeat", "Pending", "Submitting")
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
WAITING = ("Paused", "Suspended", "Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot")
"""States in which a run has no process and needs none."""
CONTAINER_STARTS = "InfrastructurePending"
"""State while a container's image is pulled, which may take longer than SILENCE."""


def job_template(command: str | None = None) -> dict[str, Any]:
    """Return the process worker's template; runs start in the folder in which the worker was started.

    Args:
        command: what starts a run's process. None: Prefect's own, which starts Python twice.
    """
    template = ProcessWorker.get_default_base_job_template()
    template["job_configuration"]["env"] = dict(RUN_ENVIRONMENT)  # a deployment's `env` is added to it
    template["variables"]["properties"]["working_dir"]["default"] = "."
    template["variables"]["properties"]["command"]["default"] = command
    return template


def watchdog() -> AutomationCore:
    """Return the automation that frees a run's slot after worker and run were killed together.

    It is one automation for all cases, because two would lock SQLite when both record the same event.
    """
    after = {f"prefect.flow-run.{name}" for name in SIGNS_OF_LIFE}
    others = {f"prefect.flow-run.{name}" for name in ("heartbeat", "Running", CONTAINER_STARTS, *ENDED, *WAITING)}
    return AutomationCore(
        name="Crash runs that nobody works on",
        description="Frees the slot after worker and run were killed together, or after the machine went down.",
        trigger=EventTrigger(
            after=after,
            expect=others,
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat for {SILENCE.seconds} seconds: its process was killed, or its machine is down. "
                "Run it again: finished work is kept.",
            )
        ],
    )
