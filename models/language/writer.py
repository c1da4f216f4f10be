"""Scenes of a story, from the store or from the writer that the options name."""

from __future__ import annotations

from models.language import offline
from models.language.vocabulary import load_vocabulary
from models.profiles import Profile
from models.records import SceneBreakdown, Story
from models.secrets.keys import Keys
from models.settings import StoryboardOptions
from models.storage.content_store import Store, content_key

SCENES = "scenes"


def find_or_write_scenes(
    story: Story, options: StoryboardOptions, profile: Profile, keys: Keys, store: Store
) -> SceneBreakdown:
    """Return the scenes from the store, or from the writer. A new answer is stored, so that it is paid for once.

    Raises:
        WriterError, WeightsInvalid: see `write_scenes`.
        StorageError: the store cannot be written.
    """
    key = scenes_key(story, options, profile, keys)
    found = None if options.refresh else store.get(SCENES, key, SceneBreakdown)
    if found is not None:
        return found
    breakdown = write_scenes(story, options, profile, keys)
    store.put(SCENES, key, breakdown)
    return breakdown


def scenes_key(story: Story, options: StoryboardOptions, profile: Profile, keys: Keys) -> str:
    """Return the key of everything that determines the scenes; model and server count only for the openai writer."""
    asked = {}
    if options.writer_name(profile) == "openai":
        asked = {"model": options.writer_model, "temperature": options.temperature, "server": keys.openai_base_url}
    return content_key(
        SCENES,
        story=story,
        writer=writer_version(options, profile),
        frames=options.frames,
        vocabulary=load_vocabulary(profile),
        trigger=profile.trigger,
        asked=asked,
    )


def write_scenes(story: Story, options: StoryboardOptions, profile: Profile, keys: Keys) -> SceneBreakdown:
    """Return exactly `options.frames` scenes.

    Raises:
        WriterError: the language model refused, was unreachable, or gave an answer that does not fit.
        WeightsInvalid: the profile's vocabulary is missing or broken.
    """
    if options.writer_name(profile) == "offline":
        return offline.write(story, options.frames, profile)
    from models.language import chat  # imported late: the openai client takes most of a second

    return chat.write(story, options, profile, keys)


def writer_version(options: StoryboardOptions, profile: Profile) -> str:
    """Return the writer's name and version, a part of the scenes' key."""
    if options.writer_name(profile) == "offline":
        return f"offline/{offline.VERSION}"
    from models.language import chat

    return f"openai/{chat.VERSION}"
