"""Make a Prefect server ready: the work pool, its queues and slots, the automation, and all deployments.

python -m deployments.bootstrap

It can be run repeatedly: what is up to date stays, and what differs from this project is updated.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import yaml
from prefect.automations import AutomationCore
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from pydantic import BaseModel, ConfigDict, Field

from deployments.gpus import visible_gpus
from deployments.pool import POOL, POOL_DESCRIPTION, POOL_TYPE, QUEUES, job_template, watchdog
from flows.commands.command import Command
from flows.commands.server_answers import explaining, require_answer
from flows.terminal import FAILURE, say, stop
from models.errors import InputError, StoryboardError
from models.forms.form import Form, Group
from models.profiles import ROOT

OF_EACH_SCHEDULE = {"id", "created", "updated"}
MOST_SLOTS = 256
CREATED, CHANGED, UNCHANGED = "created", "changed", "unchanged"
OF_EACH_DEPLOY = {"created", "updated", "created_by", "updated_by", "version", "version_id", "version_info"}
SEEN_BY_WORKERS = {"status", "last_polled"}
"""OF_EACH_DEPLOY and SEEN_BY_WORKERS: fields that change with every deploy and every poll of a worker."""


def bootstrap(slots: int | None = None, command: str | None = None) -> Iterator[str]:
    """Set up the server of PREFECT_API_URL, and yield a line about each thing: created, changed or unchanged.

    Args:
        slots: largest number of simultaneous runs of the pool. None: as before; a new pool gets a slot per GPU here.
        command: what starts a run's process on a worker; see `deployments.pool.job_template`.

    Raises:
        InputError: no Prefect server answers, or it refuses the password.
        StoryboardError: prefect.yaml can't be deployed.
    """
    settings = get_current_settings()
    if settings.api.url is None:
        raise InputError(
            "PREFECT_API_URL is not set: start a server with make up, or name yours: "
            "export PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    require_answer(settings, "or name another")
    with explaining(), get_client(sync_client=True) as client:
        yield f"work pool {POOL}: {_put_pool(client, slots, command)}"
        yield from (f"queue {name}: {done}" for name, done in _put_queues(client))
        yield f"automation {watchdog().name!r}: {_put_automation(client, watchdog())}"
        yield from (f"deployment {name}: {done}" for name, done in _deploy(client))


def _put_pool(client: SyncPrefectClient, slots: int | None, command: str | None) -> str:
    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(
                name=POOL,
                type=POOL_TYPE,
                description=POOL_DESCRIPTION,
                base_job_template=job_template(command),
                concurrency_limit=slots or len(visible_gpus()) or 1,
            )
        )
        return CREATED
    wanted: dict[str, Any] = {
        "description": POOL_DESCRIPTION,
        "concurrency_limit": slots or pool.concurrency_limit or 1,
    }
    if pool.type == POOL_TYPE:  # a pool of another type keeps its own template
        wanted["base_job_template"] = job_template(command)
    if all(getattr(pool, name) == value for name, value in wanted.items()):
        return UNCHANGED
    client.update_work_pool(POOL, WorkPoolUpdate(**wanted))
    return CHANGED


def _put_queues(client: SyncPrefectClient) -> Iterator[tuple[str, str]]:
    """Create or update the queues. All are read first, because the server shifts priorities when one is taken."""
    found = {queue.name: queue for queue in client.read_work_queues(work_pool_name=POOL)}
    for name, (priority, description) in QUEUES.items():
        queue = found.get(name)
        if queue is None:
            client.create_work_queue(name=name, description=description, priority=priority, work_pool_name=POOL)
            yield name, CREATED
        elif (queue.priority, queue.description) != (priority, description):
            client.update_work_queue(queue.id, priority=priority, description=description)
            yield name, CHANGED
        else:
            yield name, UNCHANGED


def _put_automation(client: SyncPrefectClient, wanted: AutomationCore) -> str:
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return CREATED
    if found[0].model_dump(exclude={"id", "owner_resource"}) == wanted.model_dump(exclude={"owner_resource"}):
        return UNCHANGED
    client.update_automation(found[0].id, wanted)
    return CHANGED


def _deploy(client: SyncPrefectClient) -> Iterator[tuple[str, str]]:
    """Deploy all of prefect.yaml with Prefect's own command, and compare the deployments before and after."""
    before = _deployments(client)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    after = _deployments(client)
    deployed = {name for name, now in after.items() if name not in before or now.updated != before[name].updated}
    if done.returncode or len(deployed) != declared():
        output = " ".join(f"{done.stdout} {done.stderr}".split())
        raise StoryboardError(f"prefect.yaml: {len(deployed)} of {declared()} deployments were made: {output}")
    for name in sorted(deployed):
        yield name, _difference(before[name], after[name]) if name in before else CREATED


def _difference(before: DeploymentResponse, after: DeploymentResponse) -> str:
    old, new = _content(before), _content(after)
    differing = ", ".join(sorted(key for key in new if new[key] != old[key]))
    return f"{CHANGED} ({differing})" if differing else UNCHANGED


def declared() -> int:
    """Return the number of deployments in prefect.yaml."""
    return len(yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"])


def _deployments(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    flows = {flow.id: flow.name for flow in client.read_flows()}
    return {f"{flows[found.flow_id]}/{found.name}": found for found in client.read_deployments()}


def _content(deployment: DeploymentResponse) -> dict[str, Any]:
    content = deployment.model_dump(exclude=OF_EACH_DEPLOY | SEEN_BY_WORKERS | {"schedules"})
    schedules = [schedule.model_dump(exclude=OF_EACH_SCHEDULE) for schedule in deployment.schedules]
    return {**content, "schedules": schedules}


class Slots(BaseModel):
    """The command's options."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    slots: int | None = Field(None, ge=1, le=MOST_SLOTS)
    """Simultaneous runs of the pool: the number of GPUs of all its workers. Unset: as before; for a new pool the number
    of GPUs here."""
    command: str | None = Field(None, min_length=1)
    """What starts a run's process on every worker. Unset: Prefect's own."""


COMMAND = Command(
    module="deployments.bootstrap",
    usage="[--slots N] [--command TEXT]",
    description=__doc__.partition("\n")[0],
    forms=(Form(Slots, (Group("options", ("slots", "command")),)),),
)


def main(arguments: list[str] | None = None) -> None:
    """Bootstrap, and print what was done; exit with 1 and one line after an error."""
    given = COMMAND.parse(arguments, Slots.model_validate)
    changed = False
    try:
        for line in bootstrap(given.slots, given.command):
            say(line)
            changed = changed or not line.endswith(UNCHANGED)
    except StoryboardError as error:
        stop(str(error), FAILURE)
    if not changed:
        say("nothing to change")


if __name__ == "__main__":
    main()
