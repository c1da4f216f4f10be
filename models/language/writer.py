"""A story becomes scenes: asks the writer that the options name."""

from __future__ import annotations

from models.language import offline
from models.records import SceneBreakdown, Story
from models.settings import Keys, StoryboardOptions


def write_scenes(story: Story, options: StoryboardOptions, keys: Keys) -> SceneBreakdown:
    """Exactly `options.frames` scenes.

    Raises:
        WriterError: the language model refused, was out of reach, or gave an answer that does not fit.
        WeightsInvalid: the profile's vocabulary is missing or broken.
    """
    if options.writer_name() == "offline":
        return offline.write(story, options)
    from models.language import chat  # the openai client takes most of a second to import

    return chat.write(story, options, keys)


def writer_version(options: StoryboardOptions) -> str:
    """The named writer and its version: part of the key under which its scenes are kept."""
    if options.writer_name() == "offline":
        return f"offline/{offline.VERSION}"
    from models.language import chat

    return f"openai/{chat.VERSION}"
