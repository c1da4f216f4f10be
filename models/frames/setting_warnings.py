"""Warnings about valid settings that may spoil the pictures, for the log and the report."""

from __future__ import annotations

import math
from collections.abc import Iterator

from models.frames.render_config import render_settings
from models.profiles import Profile
from models.settings import StoryboardOptions


def find_setting_warnings(options: StoryboardOptions, profile: Profile) -> tuple[str, ...]:
    """Return the warnings, each a sentence.

    Raises:
        InputError: the profile does not have the aspect, or speed turbo can't be painted with these options.
    """
    return (*_of_size(options, profile), *_of_turbo(options, profile))


def _of_size(options: StoryboardOptions, profile: Profile) -> Iterator[str]:
    size, known = render_settings(options, profile).size, profile.sizes.values()
    if size not in known:
        yield (
            f"{size}: profile {profile.name} was trained on {', '.join(map(str, known))} pixels; at other sizes people "
            f"and things double or fall apart, so choose an aspect: {', '.join(profile.sizes)}."
        )


def _of_turbo(options: StoryboardOptions, profile: Profile) -> Iterator[str]:
    settings = render_settings(options, profile)
    least = 1 / settings.steps  # the lines act in a step if it ends within their share of the steps
    guided = options.pipeline == "reference_guided" and settings.control_scale > 0 and settings.control_end > 0
    if options.speed == "turbo" and guided and settings.control_end < least:
        yield (
            f"control_end {settings.control_end:g}: frame 1's edges act in none of the {settings.steps} steps; choose "
            f"{math.ceil(least * 100) / 100:g} or more."
        )
