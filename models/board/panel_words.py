"""A panel in a few words, for the contact sheet and for pages."""

from __future__ import annotations

from models.records import Scene


def panel_facts(scene: Scene) -> str:
    """Return shot number, size, angle, movement and seconds: "2A · CU · low · 3 s".

    Left out are a shot number that is the frame's, an angle at eye level and a camera at rest.
    """
    panel = scene.panel
    parts = [
        "" if panel.shot_number in (None, str(scene.number)) else panel.shot_number,
        panel.shot_size,
        "" if panel.angle == "eye level" else panel.angle,
        "" if panel.movement == "static" else panel.movement,
        f"{panel.seconds:g} s",
    ]
    return " · ".join(filter(None, parts))


def panel_dialogue(scene: Scene) -> str:
    """Return what is said, on one line: "the khan: “Sell me your coat!” Aldar: “No.”"."""
    return " ".join(f"{speech.speaker}: “{speech.text}”" for speech in scene.panel.dialogue)
