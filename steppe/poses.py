"""A `Pose` for every action, in the frame of a person one unit tall who faces x > 0."""

from __future__ import annotations

from dataclasses import dataclass

from steppe.things import Point

Section = tuple[float, float, float]
"""A cut across a robe: the middle's x and y, and half its width."""
Arm = tuple[Point, Point]
"""Elbow and hand."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """A body's pose: its spine's sections from neck to hem, arms, legs, lean, and mouth."""

    spine: tuple[Section, ...]
    far_arm: Arm
    near_arm: Arm
    legs: tuple[tuple[Point, ...], ...]
    lean: float = 0.0
    nod: float = 0.0
    """Degrees that the head is turned back from the lean: a sleeper's lies on a pillow and faces the viewer."""
    lap: bool = False
    open_hand: bool = False
    mouth: str = "smile"
    over: bool = False
    """Whether a robed thigh lies over what the person sits on."""
    reaching: bool = False
    """Whether the hands hold a fixed position, so that a fat body does not move them outwards."""
    staff: bool = False
    """Whether the near hand is free for a staff."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """Proportions: `height` to an adult's; `widths` multiply the sections from neck to hem; `head` the head's size."""

    height: float = 1.0
    widths: tuple[float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0)
    head: float = 1.0
    hem: float = 0.0
    stoop: float = 0.0


def sections(pose: Pose, body: Body) -> list[Section]:
    """Return the pose's spine on this body; a stoop bends it forward towards the neck, a short robe ends higher."""
    top, bottom = pose.spine[0][1], pose.spine[-1][1]
    result = []
    for (x, y, half), wide in zip(pose.spine, body.widths, strict=True):
        share = (y - bottom) / (top - bottom)
        raised = 0.0 if pose.lap or pose.over else body.hem * (1 - share) ** 2
        result.append((x + body.stoop * share**2, y + raised - body.stoop * 0.3 * share, half * wide))
    return result


def widened(arm: Arm, factor: float) -> Arm:
    """Return the arm held further out, past a belly."""
    (x0, y0), (x1, y1) = arm
    factor = max(factor, 1.0)
    return ((x0 * factor, y0), (x1 * factor, y1))


UPRIGHT: tuple[Section, ...] = (
    (0.0, 0.67, 0.07),
    (0.0, 0.63, 0.125),
    (0.0, 0.44, 0.135),
    (0.0, 0.27, 0.165),
    (0.0, 0.1, 0.2),
)
FEET: tuple[tuple[Point, ...], ...] = (((0.07, 0.16), (0.07, 0.04)), ((-0.09, 0.16), (-0.09, 0.04)))
HANGING: Arm = ((-0.19, 0.46), (-0.2, 0.32))

POSES: dict[str, Pose] = {
    "standing": Pose(spine=UPRIGHT, far_arm=((0.19, 0.46), (0.2, 0.32)), near_arm=HANGING, legs=FEET, staff=True),
    "walking": Pose(
        spine=((0.02, 0.67, 0.07), (0.02, 0.63, 0.12), (0.01, 0.44, 0.13), (0.0, 0.3, 0.155), (0.0, 0.18, 0.18)),
        far_arm=((0.2, 0.5), (0.3, 0.4)),
        near_arm=((-0.2, 0.48), (-0.28, 0.36)),
        legs=(((0.04, 0.24), (0.14, 0.14), (0.19, 0.04)), ((-0.04, 0.24), (-0.12, 0.14), (-0.23, 0.06))),
        lean=3,
        staff=True,
    ),
    "running": Pose(
        spine=((0.0, 0.67, 0.07), (0.0, 0.63, 0.12), (-0.02, 0.46, 0.13), (-0.05, 0.36, 0.155), (-0.09, 0.27, 0.18)),
        far_arm=((0.2, 0.52), (0.34, 0.62)),
        near_arm=((-0.24, 0.52), (-0.32, 0.38)),
        legs=(((0.03, 0.3), (0.23, 0.27), (0.3, 0.1)), ((-0.12, 0.3), (-0.28, 0.2), (-0.45, 0.27))),
        lean=16,
    ),
    "sitting": Pose(
        spine=((0.0, 0.55, 0.07), (0.0, 0.51, 0.125), (0.0, 0.34, 0.14), (0.0, 0.2, 0.17), (0.0, 0.06, 0.22)),
        far_arm=((0.22, 0.34), (0.24, 0.19)),
        near_arm=((-0.22, 0.34), (-0.24, 0.19)),
        legs=(((-0.1, 0.02), (0.06, 0.0)), ((0.1, 0.02), (-0.14, 0.0))),
        lap=True,
    ),
    "sleeping": Pose(
        spine=UPRIGHT,
        far_arm=((0.14, 0.5), (0.1, 0.38)),
        near_arm=((-0.14, 0.46), (0.03, 0.42)),
        legs=FEET,
        lean=-90,
        nod=55,
        mouth="sleep",
    ),
    "waving": Pose(
        spine=UPRIGHT,
        far_arm=((0.3, 0.62), (0.38, 0.85)),
        near_arm=HANGING,
        legs=FEET,
        open_hand=True,
        mouth="talk",
        staff=True,
    ),
    "talking": Pose(
        spine=UPRIGHT, far_arm=((0.2, 0.44), (0.27, 0.58)), near_arm=HANGING, legs=FEET, mouth="talk", staff=True
    ),
    "giving": Pose(spine=UPRIGHT, far_arm=HANGING, near_arm=HANGING, legs=FEET, reaching=True),
    "bargaining": Pose(
        spine=UPRIGHT,
        far_arm=((0.23, 0.48), (0.28, 0.64)),
        near_arm=((-0.24, 0.48), (-0.26, 0.64)),
        legs=FEET,
        open_hand=True,
        mouth="talk",
    ),
    "riding": Pose(
        spine=((0.0, 0.47, 0.07), (0.0, 0.43, 0.125), (0.0, 0.25, 0.135), (0.0, 0.12, 0.15), (0.0, -0.01, 0.17)),
        far_arm=((0.18, 0.26), (0.27, 0.2)),
        near_arm=((-0.14, 0.26), (0.08, 0.16)),
        legs=(((0.11, -0.1), (0.08, -0.24)),),
        over=True,
        reaching=True,
    ),
}
