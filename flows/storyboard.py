"""Story -> storyboard directory.

python -m flows.storyboard "Aldar Köse tricks a greedy merchant in the bazaar" --profile steppe

checks ─┬─ weights ── load models ─┐
        └─ scenes ─── prompts ─────┴─ frame 1 ── frames 2…n ── compare frames ── report

With `review` people approve or change the scenes before anything is loaded, and the frames before the report.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before Prefect, which takes two seconds to import: --help and a wrong option are answered at once.
    from flows.commands.storyboard import main

    main()
    raise SystemExit

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows.logs import prepare_logs
from flows.outcome import completed, run_name
from flows.review import Review
from flows.stopping import stopping, telling
from models.board.report import Run, build_report, outcome
from models.forms.form import UNSET
from models.forms.storyboard import StoryboardForm
from models.frames.generate import FrameJob
from models.frames.render_config import RenderConfig, read_sketches
from models.preflight.devices import device_name
from models.records import MAX_FRAMES, STORY_MAX_CHARACTERS, FramePrompt, FrameResult, Sketch
from models.review.answers import starting_from
from models.settings import StoryboardOptions, read_story, with_environment
from tasks.checks import check
from tasks.frames import SPARE_RETRIES, generate_frame
from tasks.report import find_near_copies, write_report
from tasks.story import refine_prompts, write_scenes
from tasks.weights import fetch_weights, load_models

prepare_logs()


def _name() -> str:
    story = " ".join(str(flow_run.parameters.get("story", "")).split())
    return run_name(f"{story[:60]}…" if len(story) > 60 else story or "storyboard")


THREADS: Any = ThreadPoolTaskRunner(max_workers=MAX_FRAMES + 2)
"""One for each frame, so that all of them can wait for one batch, and two for the weights."""


@flow(name="storyboard", flow_run_name=_name, task_runner=THREADS)
def storyboard(
    story: Annotated[str, Field(min_length=1, max_length=STORY_MAX_CHARACTERS)],
    options: StoryboardForm = UNSET,
) -> str:
    """Turn a one-line tale of Aldar Köse into a storyboard of consistent pictures.

    Args:
        story: The tale in one line, in any language, 1 to 2000 characters.
        options: Everything else. What is left empty or auto is taken from the environment, .env, the profile or the
            machine.

    Returns:
        The storyboard's directory.
    """
    tale, options, clock = read_story(story), with_environment(options), Clock()
    review = Review(options)
    with clock.stage("checks"):
        check(options)
    board = review.begin(clock.started)
    with telling(board):
        loading = None if review.is_open("scenes") else start_loading(options)
        with clock.stage("scenes"):
            breakdown = review.scenes(lambda: write_scenes(tale, options, board))
        if review.is_open("scenes"):
            with clock.stage("review of the scenes"):
                breakdown = review.approve_scenes(breakdown, board)
        with clock.stage("prompts"):
            prompts = refine_prompts(breakdown, options, board)
        with clock.stage("weights and models"):
            render_config = loaded(loading or start_loading(options))

        def paint() -> list[FrameResult]:
            with clock.stage("frames"):
                anew = options.refresh and not review.memory.painted
                return paint_frames(render_config, review.reword(prompts, board), options, board, review.seeds, anew)

        def run() -> Run:
            return describe_run(render_config, clock, review.memory.started)

        results = paint()
        while review.is_open("frames"):
            with clock.stage("review of the frames"):
                redo = review.approve_frames(build_report(breakdown, results, options, run()), results, board)
            results = paint() if redo else results
        report = write_report(breakdown, results, options, run(), board)
    return completed(str(board), outcome(report))


def start_loading(options: StoryboardOptions) -> tuple[PrefectFuture[Any], PrefectFuture[Any]]:
    """Fetch the weights and then load the models, while something else is done."""
    fetching = fetch_weights.submit(options)
    return fetching, load_models.submit(options, fetching, str(flow_run.id), return_state=False)


def loaded(loading: tuple[PrefectFuture[Any], PrefectFuture[Any]]) -> RenderConfig:
    """The render config, once the models are loaded."""
    fetching, render_config = loading
    fetching.result()  # where it failed this tells why; what waited for it only tells that it never began
    found: RenderConfig = render_config.result()
    return found


def describe_run(render_config: RenderConfig, clock: Clock, started: datetime) -> Run:
    """The circumstances of the run, for its report."""
    return Run(
        render_config=render_config,
        weights=render_config.weights,
        device=device_name(render_config.setup.device),
        precision=render_config.setup.precision,
        seconds=clock.seconds,
        started=started,
        finished=datetime.now().astimezone(),
    )


def paint_frames(
    render_config: RenderConfig,
    prompts: list[FramePrompt],
    options: StoryboardOptions,
    board: Path,
    seeds: dict[int, int],
    anew: bool,
) -> list[FrameResult]:
    """Frame 1, then all others together, then again those that came out as a copy of an earlier one.

    Args:
        render_config: how they are painted.
        prompts: one for each frame.
        options: the run's, for its sketches.
        board: the run's directory.
        seeds: first seeds of the frames that do not start from the base seed's.
        anew: forget the candidates in the store first.
    """
    frame = generate_frame.with_options(retries=render_config.attempts - 1 + SPARE_RETRIES)
    sketches: dict[int, Sketch] = read_sketches(options)

    def job(prompt: FramePrompt, reference: FrameResult | None, config: RenderConfig, **more: Any) -> FrameJob:
        own = starting_from(config, prompt.number, seeds.get(prompt.number))
        more = {"sketch": sketches.get(prompt.number), "repaint": anew, **more}
        return FrameJob(render_config=own, prompt=prompt, reference=reference, **more)

    with stopping(render_config.run):
        first = frame(job(prompts[0], None, render_config.for_one()), board)
        later = [
            frame.submit(job(prompt, first, render_config, earlier=(first.file,)), board) for prompt in prompts[1:]
        ]
        results = [first, *(future.result() for future in later)]
        for number, earlier in find_near_copies(results).items():
            again = job(prompts[number - 1], first, render_config.for_one(), earlier=earlier, repaint=False)
            results[number - 1] = frame(again, board)
    return results


@dataclass
class Clock:
    """When a run started, and how long it waited for each stage."""

    started: datetime = field(default_factory=lambda: datetime.now().astimezone())
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; one that is gone through again takes longer."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 3)
