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
    from flows.commands.collecting import run_program
    from flows.commands.storyboard import main

    run_program(main)

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

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
from models.records import (
    MAX_FRAMES,
    STORY_MAX_CHARACTERS,
    Adapter,
    FramePrompt,
    FrameResult,
    SceneBreakdown,
    Sketch,
    Story,
)
from models.review.answers import Changes, seeds_of, starting_from
from models.settings import StoryboardOptions, read_story, with_environment
from tasks.checks import check
from tasks.export import export_files
from tasks.frames import SPARE_RETRIES, generate_frame
from tasks.painters import show_painters
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
    return tell(Told(options, settings, tale), clock)


Keep = Callable[[FramePrompt, FrameResult | None], FrameResult | None]
"""Returns a frame that need not be painted, or None. Takes its prompt and frame 1, which is None for frame 1 itself."""


class Source(Protocol):
    """Where a run's scenes, prompts and settings come from."""

    @property
    def options(self) -> StoryboardOptions:
        """The run's options, as the report has them."""

    @property
    def settings(self) -> RunSettings:
        """The run's settings on this machine."""

    def fetch(self) -> list[Adapter]:
        """Fetch the LoRAs."""

    def scenes(self, board: Path) -> SceneBreakdown:
        """Return the scenes, and write them into the board."""

    def prompts(self, breakdown: SceneBreakdown, board: Path) -> list[FramePrompt]:
        """Return the scenes' prompts, and write them into the board."""

    def complete(self, render_config: RenderConfig) -> RenderConfig:
        """Return the config of the loaded models with the settings to paint with."""

    def keeping(self, prompts: list[FramePrompt], render_config: RenderConfig, board: Path) -> Keep:
        """Return what keeps the frames that need not be painted."""


@dataclass(frozen=True)
class Anew:
    """What is alike for all sources that take nothing from an earlier board."""

    options: StoryboardOptions
    settings: RunSettings

    def fetch(self) -> list[Adapter]:
        """Fetch the options' LoRAs."""
        return fetch_weights(self.options, self.settings.profile)

    def prompts(self, breakdown: SceneBreakdown, board: Path) -> list[FramePrompt]:
        """Return the scenes' prompts."""
        return refine_prompts(breakdown, self.settings.profile, board)

    def complete(self, render_config: RenderConfig) -> RenderConfig:
        """Return the config as it is."""
        return render_config

    def keeping(self, prompts: list[FramePrompt], render_config: RenderConfig, board: Path) -> Keep:
        """Keep none: finished frames are found in the store."""
        return lambda prompt, reference: None


@dataclass(frozen=True)
class Told(Anew):
    """A story."""

    tale: Story

    def scenes(self, board: Path) -> SceneBreakdown:
        """Return the story's scenes, from the store or the writer."""
        return write_scenes(self.tale, self.options, self.settings.profile, board)


def tell(source: Source, clock: Clock) -> str:
    """Make the storyboard of this source, and return its directory as the flow's state."""
    options, settings = source.options, source.settings
    review = Review(options, settings.profile, clock)
    board = review.begin()
    with telling(board):
        with clock.stage("weights"):
            adapters = source.fetch()
        load = partial(load_models.submit, settings, adapters, return_state=False)
        loading = None if review.is_open("scenes") else load()
        with clock.stage("scenes"):
            written = review.scenes(lambda: source.scenes(board))
        breakdown = review.approve_scenes(written, board)
        with clock.stage("prompts"):
            prompts = source.prompts(breakdown, board)
        with clock.stage("models"):
            render_config = source.complete((loading or load()).result())

        def paint(changes: Changes, anew: bool = False) -> list[FrameResult]:
            with clock.stage("frames"):
                reworded = reword_prompts(prompts, changes, settings.profile, board)
                unchanged = [prompt for prompt in reworded if prompt.number not in changes]
                keep = source.keeping(unchanged, render_config, board)
                return paint_frames(render_config, reworded, options, board, Wish(seeds_of(changes), anew, keep))

        def report_of(results: list[FrameResult]) -> Report:
            return build_report(breakdown, results, options, describe_run(render_config, clock, review.memory.started))

        results = paint(review.memory.changes, anew=options.refresh and not review.memory.painted)
        results = review.approve_frames(results, paint, report_of, board)
        report = write_report(report_of(results), board)
        if options.export:
            export_files(board, ExportOptions(forms=options.export))
    return completed(str(board), outcome(report))


class Wish(NamedTuple):
    """How a run's frames differ from those of its prompts and base seed."""

    seeds: dict[int, int]
    """First seeds by frame number."""
    anew: bool
    """Whether to delete the stored candidates first."""
    keep: Keep
    """Keeps what need not be painted."""


def describe_run(render_config: RenderConfig, clock: Clock, started: datetime) -> Run:
    """Return the run's render config, device and times, for its report."""
    return Run(
        render_config=render_config,
        device=device_name(render_config),
        seconds=clock.seconds,
        started=started,
        finished=datetime.now().astimezone(),
    )


def paint_frames(
    render_config: RenderConfig, prompts: list[FramePrompt], options: StoryboardOptions, board: Path, wish: Wish
) -> list[FrameResult]:
    """Paint frame 1, then all others together, then again those that are near copies of an earlier one.

    Args:
        render_config: the run's render config.
        prompts: one for each frame.
        options: the run's options, for its sketches.
        board: the run's directory.
        wish: first seeds, and the frames that are kept instead of painted.
    """
    frame = generate_frame.with_options(retries=render_config.attempts - 1 + SPARE_RETRIES)
    sketches: dict[int, Sketch] = read_sketches(options)

    def job(prompt: FramePrompt, reference: FrameResult | None, config: RenderConfig, **more: Any) -> FrameJob:
        own = starting_from(config, prompt.number, wish.seeds.get(prompt.number))
        more = {"sketch": sketches.get(prompt.number), "repaint": wish.anew, **more}
        return FrameJob(render_config=own, prompt=prompt, reference=reference, **more)

    with stopping(render_config.run):
        first = wish.keep(prompts[0], None) or frame(job(prompts[0], None, render_config.for_one()), board)
        kept = {prompt.number: found for prompt in prompts[1:] if (found := wish.keep(prompt, first))}
        painted = {
            prompt.number: frame.submit(job(prompt, first, render_config, earlier=(first.file,)), board)
            for prompt in prompts[1:]
            if prompt.number not in kept
        }
        finished = kept | {number: future.result() for number, future in painted.items()}
        results = [first, *(finished[prompt.number] for prompt in prompts[1:])]
        for number, earlier in find_near_copies(results).items():
            if number in painted:
                again = job(prompts[number - 1], first, render_config.for_one(), earlier=earlier, repaint=False)
                results[number - 1] = frame(again, board)
    show_painters(render_config.run)
    return results
