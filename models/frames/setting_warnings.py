"""Warnings about valid settings that may spoil the pictures, for the log and the report."""

from __future__ import annotations

from models.profiles import Profile
from models.settings import StoryboardOptions


def find_setting_warnings(options: StoryboardOptions, profile: Profile) -> tuple[str, ...]:
    """Return the warnings, each a sentence."""
    size, known = options.size, profile.sizes
    if size is None or size in known:
        return ()
    sides = " or ".join(map(str, known))
    return (
        f"size {size}: profile {profile.name} was trained on {sides} pixels; at other sizes people and things double "
        f"or fall apart, so choose {sides}.",
    )
