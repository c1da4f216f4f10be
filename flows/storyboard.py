"""The flow that turns a story into a storyboard's directory.

python -m flows.storyboard "Aldar Köse tricks a greedy merchant in the bazaar" --profile steppe

checks ── weights ─┬─ load models ───────┐
                   └─ scenes ── prompts ─┴─ frame 1 ── frames 2…n ── compare frames ── report

With `review` the run waits for approval of the scenes before it loads models, and of the frames before the report.
With `export` the finished storyboard is also written as PDF and the like.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before Prefect, which takes two seconds to import: --help and a wrong option are answered at once.
    from flows.commands.storyboard import main

    main()
    raise SystemExit

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows.clock import Clock
from flows.logs import prepare_logs
from flows.outcome import completed, failing_in_words, run_name
from flows.review import Review, reword_prompts
from flows.stopping import stopping, telling
from models.board.report import Report, Run, build_report, outcome
from models.export.options import ExportOptions
from models.forms.form import UNSET
from models.forms.storyboard import StoryboardForm
from models.frames.generate import FrameJob
from models.frames.render_config import RenderConfig, RunSettings, read_sketches
from models.preflight.devices import device_name
from models.records import MAX_FRAMES, STORY_MAX_CHARACTERS, FramePrompt, FrameResult, Sketch
from models.review.answers import Changes, seeds_of, starting_from
from models.settings import StoryboardOptions, read_story, with_environment
from tasks.checks import check
from tasks.export import export_files
from tasks.frames import SPARE_RETRIES, generate_frame
from tasks.report import find_near_copies, write_report
from tasks.review import require_dashboard
from tasks.story import refine_prompts, write_scenes
from tasks.weights import fetch_weights, load_models

prepare_logs()


def _name() -> str:
    story = " ".join(str(flow_run.parameters.get("story", "")).split())
    return run_name(f"{story[:60]}…" if len(story) > 60 else story or "storyboard")


THREADS: Any = ThreadPoolTaskRunner(max_workers=MAX_FRAMES + 2)
"""One thread per frame, so that all frames can wait for one batch, and two for the weights."""


@flow(name="storyboard", flow_run_name=_name, task_runner=THREADS)
@failing_in_words
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
    with clock.stage("checks"):
        require_dashboard(options)
        settings: RunSettings = check(options, str(flow_run.id))
    review = Review(options, settings.profile, clock)
    board = review.begin()
    with telling(board):
        with clock.stage("weights"):
            adapters = fetch_weights(options, settings.profile)
        load = partial(load_models.submit, settings, adapters, return_state=False)
        loading = None if review.is_open("scenes") else load()
        with clock.stage("scenes"):
            written = review.scenes(lambda: write_scenes(tale, options, settings.profile, board))
        breakdown = review.approve_scenes(written, board)
        with clock.stage("prompts"):
            prompts = refine_prompts(breakdown, settings.profile, board)
        with clock.stage("models"):
            render_config: RenderConfig = (loading or load()).result()

        def paint(changes: Changes, anew: bool = False) -> list[FrameResult]:
            with clock.stage("frames"):
                reworded = reword_prompts(prompts, changes, settings.profile, board)
                return paint_frames(render_config, reworded, options, board, seeds_of(changes), anew)

        def report_of(results: list[FrameResult]) -> Report:
            return build_report(breakdown, results, options, describe_run(render_config, clock, review.memory.started))

        results = paint(review.memory.changes, anew=options.refresh and not review.memory.painted)
        results = review.approve_frames(results, paint, report_of, board)
        report = write_report(report_of(results), board)
        if options.export:
            export_files(board, ExportOptions(forms=options.export))
    return completed(str(board), outcome(report))


def describe_run(render_config: RenderConfig, clock: Clock, started: datetime) -> Run:
    """Return the run's render config, device and times, for its report."""
    return Run(
        render_config=render_config,
        device=device_name(render_config.setup.device),
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
    """Paint frame 1, then all others together, then again those that are near copies of an earlier one.

    Args:
        render_config: the run's render config.
        prompts: one for each frame.
        options: the run's options, for its sketches.
        board: the run's directory.
        seeds: first seeds by frame number, where they differ from those of the base seed.
        anew: whether to delete the stored candidates first.
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
