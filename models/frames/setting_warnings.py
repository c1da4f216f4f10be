"""Warnings about valid settings that may spoil the pictures, for the log and the report."""

from __future__ import annotations

from models.frames.render_config import render_settings
from models.profiles import Profile
from models.settings import StoryboardOptions


def find_setting_warnings(options: StoryboardOptions, profile: Profile) -> tuple[str, ...]:
    """Return the warnings, each a sentence.

    Raises:
        InputError: the profile does not have the aspect.
    """
    size, known = render_settings(options, profile).size, profile.sizes.values()
    if size in known:
        return ()
    return (
        f"{size}: profile {profile.name} was trained on {', '.join(map(str, known))} pixels; at other sizes people and "
        f"things double or fall apart, so choose an aspect: {', '.join(profile.sizes)}.",
    )
