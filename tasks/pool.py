"""Makes storyboards as runs of a deployment: starts a few at a time, and polls them until they end."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.states import Cancelling

from models.book.index import Chapter
from models.book.stories import failed, made, short
from models.errors import InputError, StoryboardError
from models.forms.storyboard import FORM
from models.settings import StoryboardOptions, overridden, with_environment
from tasks.redo import find_board

logger = logging.getLogger("models.book.stories")

PAUSE = 2.0
"""Seconds between two polls of the runs."""


def deployed_options(deployment: str, options: StoryboardOptions) -> StoryboardOptions:
    """Return the deployment's options, overridden by the given ones.

    Raises:
        InputError: the server has no such deployment, or this run holds the only slot of the deployment's pool.
    """
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(deployment)
        except (ObjectNotFound, ValueError):
            raise InputError(
                f"deployment {deployment!r} is not on the server; `prefect deployment ls` lists the existing ones"
            ) from None
        _refuse_own_slot(client, found.work_pool_name, deployment)
    own: dict[str, Any] = FORM.lift(found.parameters.get("options") or {})
    merged = overridden(own, options)
    folder = with_environment(StoryboardOptions.model_validate(merged)).output_dir
    # Absolute, because the pool's runs start in another folder.
    return StoryboardOptions.model_validate({**merged, "output_dir": str(Path(folder).absolute())})


def _refuse_own_slot(client: SyncPrefectClient, pool: str | None, deployment: str) -> None:
    """Refuse to wait for runs in this run's own pool if it has only one slot: they would never start."""
    own = client.read_flow_run(UUID(str(flow_run.id)))
    if pool is None or own.work_pool_name != pool:
        return
    slots = client.read_work_pool(pool).concurrency_limit
    if slots is not None and slots < 2:
        raise InputError(
            f"this run holds the only slot of the work pool {pool!r}, which {deployment} needs: leave `deployment` "
            "unset to make the storyboards in this run, or start the book with python -m flows.storybook"
        )


def made_on_the_pool(
    chapters: Sequence[Chapter], options: StoryboardOptions, deployment: str, at_once: int
) -> Generator[Chapter, None, None]:
    """Yield the chapters as their runs end; an interruption cancels the unfinished runs."""
    waiting, running = list(chapters), dict[UUID, Chapter]()
    with get_client(sync_client=True) as client:  # kept open, because it retries if the server goes away later
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    chapter = waiting.pop(0)
                    running[_start(chapter, options, deployment)] = chapter
                ended = _ended(client, running)
                for run, state in ended.items():
                    yield _outcome(running.pop(run), run, state)
                if not ended:
                    time.sleep(PAUSE)
        except BaseException:
            _cancel(client, running)
            raise


def _start(chapter: Chapter, options: StoryboardOptions, deployment: str) -> UUID:
    parameters = {"story": chapter.story, "options": options.model_dump(mode="json", exclude_unset=True)}
    run = run_deployment(deployment, parameters=parameters, timeout=0, flow_run_name=short(chapter.story))
    assert isinstance(run, FlowRun), "only a coroutine's caller gets a coroutine"
    return run.id


def _ended(client: SyncPrefectClient, runs: dict[UUID, Chapter]) -> dict[UUID, State[Any]]:
    states = {run: client.read_flow_run(run).state for run in runs}
    return {run: state for run, state in states.items() if state is not None and state.is_final()}


def _outcome(chapter: Chapter, run: UUID, state: State[Any]) -> Chapter:
    if not state.is_completed():
        return failed(chapter, why(state))
    try:
        return made(chapter, find_board(str(run)))
    except StoryboardError as error:
        return failed(chapter, str(error))


def why(state: State[Any]) -> str:
    """Return the message of a run that did not complete."""
    return state.message or f"the run ended {state.name}"


def _cancel(client: SyncPrefectClient, runs: dict[UUID, Chapter]) -> None:
    for run in runs:
        client.set_flow_run_state(run, Cancelling(message="the book was interrupted"))
    if runs:
        logger.warning("cancelled %d unfinished storyboards", len(runs))
