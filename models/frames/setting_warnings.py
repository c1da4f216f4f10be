"""What may spoil the pictures though nothing forbids it: a warning in the log before painting, a note in the report."""

from __future__ import annotations

from models.settings import StoryboardOptions


def find_setting_warnings(options: StoryboardOptions) -> tuple[str, ...]:
    """One sentence each."""
    profile = options.get_profile()
    size, known = options.size, profile.sizes
    if size is None or size in known:
        return ()
    sides = " or ".join(map(str, known))
    return (
        f"size {size}: profile {profile.name} was trained on {sides} pixels; at other sizes people and things double "
        f"or fall apart, so choose {sides}.",
    )
