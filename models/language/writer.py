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
    versions = writer_versions(options, profile)
    for version in () if options.refresh else versions:
        found = store.get(SCENES, scenes_key(story, options, profile, keys, version), SceneBreakdown)
        if found is not None:
            return found
    breakdown = write_scenes(story, options, profile, keys)
    store.put(SCENES, scenes_key(story, options, profile, keys, versions[0]), breakdown)
    return breakdown


def scenes_key(
    story: Story, options: StoryboardOptions, profile: Profile, keys: Keys, version: str | None = None
) -> str:
    """Return the key of everything that determines the scenes; model and server count only for the openai writer.

    Args:
        version: of the writer; None: the present one.
    """
    asked = {}
    if options.writer_name(profile) == "openai":
        asked = {"model": options.writer_model, "temperature": options.temperature, "server": keys.openai_base_url}
    return content_key(
        SCENES,
        story=story,
        writer=version or writer_versions(options, profile)[0],
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


def writer_versions(options: StoryboardOptions, profile: Profile) -> tuple[str, ...]:
    """Return the writer's name with its version, a part of the scenes' key, and then with earlier ones.

    Scenes that an earlier version of the openai writer wrote were paid for, so they are used; the offline writer's are
    written again.
    """
    if options.writer_name(profile) == "offline":
        return (f"offline/{offline.VERSION}",)
    from models.language import chat

    return tuple(f"openai/{version}" for version in (chat.VERSION, *chat.EARLIER))
