"""Storyboards as runs of a deployment: started on the pool, a few at a time, and watched until they end."""

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
from models.settings import StoryboardOptions, with_environment
from tasks.redo import find_board

logger = logging.getLogger("models.book.stories")

PAUSE = 2.0
"""Seconds between two looks at the runs."""


def deployed_options(deployment: str, options: StoryboardOptions) -> StoryboardOptions:
    """The options that a run of the deployment has, with those given in place of its own.

    Raises:
        InputError: the server has no such deployment, or this run holds the only slot of the pool that it needs.
    """
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(deployment)
        except (ObjectNotFound, ValueError):
            raise InputError(
                f"deployment {deployment!r} is not on the server; `prefect deployment ls` lists those that are"
            ) from None
        _refuse_own_slot(client, found.work_pool_name, deployment)
    own: dict[str, Any] = FORM.lift(found.parameters.get("options") or {})
    merged = own | options.model_dump(exclude_unset=True, exclude_none=True)
    folder = with_environment(StoryboardOptions.model_validate(merged)).output_dir
    # The pool's runs begin in another folder than this one.
    return StoryboardOptions.model_validate({**merged, "output_dir": str(Path(folder).absolute())})


def _refuse_own_slot(client: SyncPrefectClient, pool: str | None, deployment: str) -> None:
    """A run that waits for others in its own pool, where it leaves no slot free, would wait for ever."""
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
    """The chapters as they end. Runs that are still at work are cancelled when this one is interrupted."""
    waiting, running = list(chapters), dict[UUID, Chapter]()
    with get_client(sync_client=True) as client:  # one for all the time: it waits for a server that was there once
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
    """What a run that did not complete says of it, in its own words."""
    return state.message or f"the run ended {state.name}"


def _cancel(client: SyncPrefectClient, runs: dict[UUID, Chapter]) -> None:
    for run in runs:
        client.set_flow_run_state(run, Cancelling(message="the book was interrupted"))
    if runs:
        logger.warning("cancelled what was still at work: %d storyboards", len(runs))
