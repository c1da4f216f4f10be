"""The work pool and what watches over it, as data: no server is asked here.

One pool has as many slots as there are GPUs: a run holds a slot from Pending until it has ended, and the others wait in
order, the interactive queue first. A worker takes one run at a time, and sees one GPU.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture, ResourceSpecification
from prefect.client.schemas.objects import StateType
from prefect.workers.process import ProcessWorker

POOL = "gpu"
POOL_TYPE = "process"
POOL_DESCRIPTION = "One slot for each GPU; where there is none, one for the CPU."

QUEUES = {
    "interactive": (1, "Storyboards: a person waits for them."),
    "batch": (2, "Trainings and what runs at night: taken when no storyboard waits."),
    "default": (3, "Runs that name no queue."),
}
"""Name -> priority (1 is taken first) and what it is for."""

RUN_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_CLIENT_MAX_RETRIES": "7",  # a server may be gone for four minutes: 2 + 4 + … + 128 seconds
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "models,diffusers",
    "PREFECT_LOGGING_ROOT_LEVEL": "INFO",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES": "false",
}
"""What every run's process is given beside the worker's own environment. The server stores it: nothing secret."""

SILENCE = timedelta(seconds=150)
"""A server may be gone for a minute, and the next heartbeat comes half a minute and a connection later. Also longer
than a run's process takes to start."""
SIGNS_OF_LIFE = ("heartbeat", "Pending", "Submitting")
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
WAITING = ("Paused", "Suspended", "Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot")
"""States in which nothing runs, and nothing is wrong."""
CONTAINER_STARTS = "InfrastructurePending"
"""A container's image may take longer than a heartbeat."""


def job_template() -> dict[str, Any]:
    """The process worker's own template; runs start in the folder that the worker was started in."""
    template = ProcessWorker.get_default_base_job_template()
    template["job_configuration"]["env"] = dict(RUN_ENVIRONMENT)  # a deployment's `env` is added to it
    template["variables"]["properties"]["working_dir"]["default"] = "."
    return template


def watchdog() -> AutomationCore:
    """Gives a run's slot back when worker and run were killed together, and nobody is left to do so.

    One automation and not one for each case: with two, SQLite is locked when both note the same event.
    """
    after = {f"prefect.flow-run.{name}" for name in SIGNS_OF_LIFE}
    others = {f"prefect.flow-run.{name}" for name in ("heartbeat", "Running", CONTAINER_STARTS, *ENDED, *WAITING)}
    return AutomationCore(
        name="Crash runs that nobody works on",
        description="Worker and run were killed together, or the machine went down: the slot is free again.",
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
                "Run it again: what was finished is kept.",
            )
        ],
    )
