"""The story's stages: write the scenes, and turn scenes into prompts."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger

from models.board.directory import PROMPTS_FILE, SCENES_FILE, write_json
from models.board.story_warnings import find_warnings
from models.language.prompts import refine, token_counter
from models.language.writer import find_or_write_scenes
from models.profiles import Profile
from models.records import FramePrompt, SceneBreakdown, Story
from models.secrets.keys import Keys
from models.settings import StoryboardOptions
from models.storage.content_store import Store
from tasks.retries import RETRYING, patience


@task(name="scenes", **RETRYING)
def write_scenes(story: Story, options: StoryboardOptions, profile: Profile, board: Path) -> SceneBreakdown:
    """Return the story's scenes, from the store or from the writer.

    Raises:
        WriterError: the language model refused, did not answer, or gave an invalid answer.
    """
    with patience():
        breakdown = find_or_write_scenes(story, options, profile, Keys(), Store.within(options.output_dir))
    write_json(board, SCENES_FILE, breakdown)
    lines = [f"  {scene.number}. {scene.caption}" for scene in breakdown.scenes]
    get_run_logger().info("“%s”, by %s:\n%s", breakdown.title, breakdown.writer, "\n".join(lines))
    for warning in find_warnings(breakdown):
        get_run_logger().warning("%s", warning)
    return breakdown


@task(name="prompts", **RETRYING)
def refine_prompts(breakdown: SceneBreakdown, profile: Profile, board: Path) -> list[FramePrompt]:
    """Return each scene's prompt in the profile's style, within 77 tokens.

    Raises:
        WeightsInvalid: the profile's tokenizer is missing or broken.
    """
    count = token_counter(profile)
    prompts = [refine(scene, breakdown.cast, profile, count) for scene in breakdown.scenes]
    write_json(board, PROMPTS_FILE, prompts)
    get_run_logger().info("prompts of up to %d tokens", max(prompt.tokens for prompt in prompts))
    return prompts
