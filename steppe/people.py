"""People: a `Look` is an appearance, a `Pose` a posture; `draw_person` draws any look in any pose.

A standing adult is one unit tall with the feet at (0, 0), and faces towards x > 0.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from steppe.poses import Arm, Body, Pose, Section, sections, widened
from steppe.things import GOLD, HATS, INK, Colour, Pen, Point, curve, mix, shade
from steppe.world import Person

ROBE_COLOURS: dict[str, Colour] = {
    "red": (216, 44, 52),
    "orange": (246, 136, 30),
    "yellow": (254, 222, 64),
    "green": (66, 164, 76),
    "blue": (44, 104, 214),
    "purple": (142, 70, 186),
    "brown": (124, 78, 46),
    "white": (250, 246, 238),
}
SKINS: tuple[Colour, ...] = ((250, 210, 170), (246, 200, 156), (238, 186, 142), (228, 172, 126))
BLACK_HAIR: Colour = (48, 38, 48)
WHITE_HAIR: Colour = (250, 248, 246)
BOOTS: Colour = (92, 58, 50)
HEAD = 0.158


@dataclass(frozen=True, kw_only=True)
class Face:
    """A face's marks. `beard` is an outline in head radii around the head's centre, empty for none."""

    skin: Colour
    hair: Colour = BLACK_HAIR
    beard: tuple[Point, ...] = ()
    moustache: bool = False
    braids: bool = False
    smile: float = 1.0
    rosy: float = 0.35
    eyes: bool = True
    """False only in flawed faces, from which the classifier learns what a whole face is."""


class Cloth:
    """A robe's surface between sections, addressed by u (-1 to 1, across) and t (0 to 1, from neck to hem)."""

    def __init__(self, sections: list[Section]) -> None:
        self.left = curve([(x - half, y) for x, y, half in sections], closed=False)
        self.right = curve([(x + half, y) for x, y, half in sections], closed=False)

    def at(self, u: float, t: float) -> Point:
        """Return the point of the frame at (u, t)."""
        row = round(t * (len(self.left) - 1))
        (x0, y0), (x1, y1) = self.left[row], self.right[row]
        share = (u + 1) / 2
        return (x0 + (x1 - x0) * share, y0 + (y1 - y0) * share)

    def patch(self, corners: tuple[tuple[float, float], ...]) -> list[Point]:
        """Return the points of several (u, t)."""
        return [self.at(u, t) for u, t in corners]


@dataclass(frozen=True, kw_only=True)
class Robe:
    """A robe: its cloth, its trimmings, and `pattern`, which draws on the cloth's surface."""

    colour: Colour
    trim: Colour
    sash: Colour | None
    """None: neither sash nor opening nor collar; nothing lies across the pattern."""
    pattern: Callable[[Pen, Cloth, Colour], None]


@dataclass(frozen=True, kw_only=True)
class Look:
    """A person's whole appearance; `extras` are any of staff, cape, necklace, belt."""

    body: Body
    face: Face
    hat: Callable[[Pen], None]
    robe: Robe
    extras: frozenset[str] = frozenset()


def hem_band(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """A broad band along the hem."""
    rows = (0.86, 0.93, 1.0)
    pen.shape(
        [*(cloth.at(-1, t) for t in rows), *(cloth.at(1, t) for t in rows[::-1])], trim, smooth=False, outline=False
    )


def stripes(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """Stripes down the robe."""
    for u in (-0.62, 0.62):
        pen.stroke([cloth.at(u, t) for t in (0.3, 0.5, 0.75, 0.98)], 0.035, trim, smooth=False)


def spots(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """Large dots in rows, and the hem's band."""
    hem_band(pen, cloth, trim)
    for u, t in ((-0.6, 0.38), (0.6, 0.38), (-0.55, 0.7), (0.5, 0.7)):
        pen.oval(cloth.at(u, t), (0.024, 0.024), trim, outline=False)


def zigzag(pen: Pen, cloth: Cloth, trim: Colour) -> None:
    """A zigzag above the hem."""
    points = [cloth.at(step / 3 - 1, 0.94 if step % 2 else 0.82) for step in range(7)]
    pen.stroke(points, 0.03, trim, smooth=False)


PATTERNS = (hem_band, stripes, spots, zigzag)
FULL_BEARD: tuple[Point, ...] = (
    (-0.86, 0.02), (-0.8, -0.8), (-0.3, -1.75), (0.25, -2.05), (0.72, -1.6), (0.98, -0.7), (0.98, -0.12),
    (0.68, -0.28), (0.34, -0.2), (-0.1, -0.3), (-0.5, -0.2),
)  # fmt: skip
BODIES: dict[str, Body] = {
    "young man": Body(widths=(0.9, 0.9, 0.78, 0.84, 0.86)),
    "old man": Body(height=0.93, widths=(1.0, 0.95, 1.0, 0.95, 0.95), stoop=0.09),
    "woman": Body(height=0.96, widths=(0.8, 0.82, 0.74, 1.2, 1.45), head=0.98),
    "boy": Body(height=0.72, widths=(1.1, 1.0, 1.05, 1.05, 1.05), head=1.3, hem=0.1),
    "merchant": Body(height=0.94, widths=(1.1, 1.2, 1.95, 1.72, 1.3), head=1.08),
    "khan": Body(height=1.04, widths=(1.3, 1.5, 1.4, 1.3, 1.3), head=1.05),
}
EXTRAS = {"old man": {"staff"}, "woman": {"necklace"}, "khan": {"cape", "belt"}}


def look_of(person: Person, rng: random.Random) -> Look:
    """Return a look for one of the world's own people, with random skin, hue and pattern."""
    old, black_beard = person.kind == "old man", person.kind == "khan"
    base = ROBE_COLOURS[person.robe]
    colour = mix(base, rng.choice(((255, 255, 255), (90, 40, 60))), rng.uniform(0, 0.06))
    bright = sum(base) > 560
    face = Face(
        skin=rng.choice(SKINS),
        hair=WHITE_HAIR if old else BLACK_HAIR,
        beard=FULL_BEARD if old or black_beard else (),
        moustache=person.kind == "merchant",
        braids=person.kind == "woman",
        rosy=0.5 if person.kind in ("woman", "boy") else 0.3,
    )
    robe = Robe(
        colour=colour,
        trim=shade(colour, -0.28 if bright else 0.42),
        sash=shade(colour, -0.5 if bright else -0.38),
        pattern=rng.choice(PATTERNS),
    )
    extras = frozenset(EXTRAS.get(person.kind, ()))
    return Look(body=BODIES[person.kind], face=face, hat=HATS[person.hat], robe=robe, extras=extras)


def draw_hand(pen: Pen, hand: Point, skin: Colour, is_open: bool) -> None:
    """A round hand; an open one has three fingers and a thumb."""
    if is_open:
        for dx, dy in ((-0.045, 0.03), (-0.015, 0.055), (0.02, 0.05)):
            pen.limb([hand, (hand[0] + dx * 1.25, hand[1] + dy * 1.25)], 0.042, skin)
    pen.oval(hand, (0.047, 0.047), skin)
    if is_open:
        pen.oval((hand[0], hand[1] + 0.012), (0.034, 0.034), skin, outline=False)


def draw_arm(pen: Pen, shoulder: Point, arm: Arm, look: Look, is_open: bool = False) -> None:
    """A sleeve from shoulder over elbow to the cuff, and the hand."""
    elbow, hand = arm
    wrist, cuff = (
        (elbow[0] + (hand[0] - elbow[0]) * part, elbow[1] + (hand[1] - elbow[1]) * part) for part in (0.5, 0.7)
    )
    pen.limb([wrist, cuff], 0.112, look.robe.trim)
    pen.limb([shoulder, elbow, wrist], 0.1, look.robe.colour)
    draw_hand(pen, hand, look.face.skin, is_open)


def draw_legs(pen: Pen, pose: Pose) -> None:
    """Trousers and boots; the last point of a leg is the heel, the toe lies ahead of it."""
    for leg in pose.legs:
        pen.limb(leg, 0.09, shade(BOOTS, 0.25))
        heel = leg[-1]
        pen.limb([heel, (heel[0] + 0.055, heel[1] - 0.005)], 0.085, BOOTS)


def draw_mouth(pen: Pen, mood: str, smile: float) -> None:
    """A smile, an open mouth that talks, or a sleeper's small one."""
    if mood == "talk":
        pen.oval((0.4, -0.5), (0.19, 0.17), (150, 36, 48), outline=False)
    elif mood == "sleep":
        pen.stroke([(0.26, -0.5), (0.5, -0.5)], 0.12, (150, 60, 56))
    else:
        wide = 0.27 * smile
        pen.stroke([(0.4 - wide, -0.42), (0.4, -0.42 - 0.17 * smile), (0.4 + wide, -0.42)], 0.12, (150, 44, 52))


def draw_features(pen: Pen, face: Face, mood: str) -> None:
    """Eyes, brows, nose, cheeks, beard, moustache and mouth, in a frame of head radii."""
    if face.rosy:
        for cheek in ((-0.28, -0.28), (0.84, -0.26)):
            pen.oval(cheek, (0.2, 0.16), mix(face.skin, (236, 84, 84), face.rosy), outline=False)
    for eye in (0.04, 0.66) if face.eyes else ():
        if mood == "sleep":
            pen.stroke([(eye - 0.17, 0.06), (eye, -0.05), (eye + 0.17, 0.06)], 0.12, INK)
        else:
            pen.oval((eye, 0.08), (0.125, 0.15), INK, outline=False)
        pen.stroke([(eye - 0.18, 0.34), (eye, 0.41), (eye + 0.18, 0.35)], 0.1, mix(face.hair, INK, 0.3))
    if face.beard:
        pen.shape(face.beard, face.hair)
    pen.oval((0.42, -0.16), (0.13, 0.12), shade(mix(face.skin, (240, 110, 90), 0.25), -0.04), outline=False)
    if face.moustache:
        for side in (-1, 1):
            pen.shape([(0.4, -0.3), (0.4 + side * 0.4, -0.34), (0.4 + side * 0.62, -0.2), (0.4 + side * 0.42, -0.52),
                       (0.4, -0.46)], face.hair, outline=False)  # fmt: skip
    draw_mouth(pen.at((0.0, -0.14 if face.moustache else 0.0)), mood, face.smile)


def draw_head(pen: Pen, look: Look, mood: str) -> None:
    """Hair, face and hat around the origin; the head is the unit circle."""
    face = look.face
    pen.oval((-0.12, 0.1), (1.04, 1.02), face.hair)
    if face.braids:
        pen.shape([(-0.7, 0.5), (-1.12, 0.0), (-0.98, -0.9), (-0.6, -0.8)], face.hair)
    pen.oval((0.06, -0.04), (0.97, 0.96), face.skin)
    pen.oval((-0.78, -0.12), (0.2, 0.24), face.skin)
    draw_features(pen, face, mood)
    look.hat(pen)


def draw_braids(pen: Pen, neck: Point, hair: Colour) -> None:
    """Two thick black braids over the chest, ending in red ribbons."""
    for side in (-1, 1):
        x, y = neck[0] + side * 0.125, neck[1]
        for step in range(4):
            pen.oval((x + side * 0.006 * step, y + 0.04 - step * 0.075), (0.04, 0.046), hair)
        pen.oval((x + side * 0.022, y - 0.25), (0.034, 0.03), (230, 60, 80))


def draw_trimmings(pen: Pen, cloth: Cloth, look: Look) -> None:
    """The robe's pattern, opening and sash, and a khan's or a woman's gold."""
    robe = look.robe
    robe.pattern(pen, cloth, robe.trim)
    if robe.sash is not None:
        draw_opening(pen, cloth, look, robe.sash)
    pen.outline([*cloth.left, *cloth.right[::-1]])
    if "necklace" in look.extras:
        for u, t in ((-0.5, 0.2), (-0.2, 0.3), (0.2, 0.3), (0.5, 0.2)):
            pen.oval(cloth.at(u, t), (0.026, 0.026), GOLD)


def draw_opening(pen: Pen, cloth: Cloth, look: Look, sash: Colour) -> None:
    """The robe's opening and collar, and the sash or a khan's gold belt and collar."""
    robe = look.robe
    pen.stroke(cloth.patch(((0.12, 0.3), (0.12, 0.98))), 0.02, shade(robe.colour, -0.35), smooth=False)
    pen.stroke(cloth.patch(((-0.75, 0.06), (0.12, 0.32), (0.75, 0.06))), 0.03, robe.trim, smooth=False)
    belt = GOLD if "belt" in look.extras else sash
    band = ((-1.0, 0.46), (1.0, 0.46), (1.0, 0.57), (-1.0, 0.57))
    pen.shape(cloth.patch(band), belt, smooth=False, outline="belt" in look.extras)
    if "belt" in look.extras:
        collar = ((-1.0, 0.0), (1.0, 0.0), (0.95, 0.22), (0.0, 0.34), (-0.95, 0.22))
        pen.shape(cloth.patch(collar), GOLD, smooth=False)


def draw_person(pen: Pen, look: Look, pose: Pose) -> Pen:
    """Draw `look` in `pose` with the feet (or seat) at the pen's origin; the pen's unit is an adult's height.

    Returns:
        The pen in the head's frame: the head is the unit circle.
    """
    pen = pen.at((0, 0), look.body.height, pose.lean)
    spine = sections(pose, look.body)
    cloth, (neck_x, neck_y, _) = Cloth(spine), spine[0]
    reach = max(spine[1][2] - 0.035, 0.07)
    far, near = (spine[1][0] + reach, spine[1][1] - 0.035), (spine[1][0] - reach, spine[1][1] - 0.035)
    far_arm, near_arm = (widened(arm, 1.0 if pose.reaching else look.body.widths[2] * 0.76) for arm in
                         (pose.far_arm, pose.near_arm))  # fmt: skip
    if "cape" in look.extras:
        low = spine[-1]
        flare = low[2] + 0.09
        pen.shape([(near[0] - 0.05, near[1] + 0.05), (low[0] - flare, low[1] - 0.02), (low[0] + flare, low[1] - 0.02),
                   (far[0] + 0.05, far[1] + 0.05)], (74, 56, 104), smooth=False)  # fmt: skip
    draw_arm(pen, far, far_arm, look, pose.open_hand)
    draw_legs(pen, pose)
    pen.shape([*cloth.left, *cloth.right[::-1]], look.robe.colour, smooth=False)
    draw_trimmings(pen, cloth, look)
    if pose.lap:
        lap = [(-0.36, 0.05), (-0.28, 0.17), (0, 0.13), (0.28, 0.17), (0.36, 0.05), (0.2, -0.01), (-0.2, -0.01)]
        pen.shape([(x * max(1.0, look.body.widths[2] * 0.8), y) for x, y in lap], look.robe.colour)
    if pose.over:
        pen.limb([(0.0, 0.06), (0.13, -0.05), (0.1, -0.2)], 0.16, look.robe.colour)
    radius = HEAD * look.body.head
    head = pen.at((neck_x + look.body.stoop * 0.35, neck_y + radius * 0.9), radius, pose.nod)
    draw_head(head, look, pose.mouth)
    if "staff" in look.extras and pose.staff:
        pen.limb([(-0.29, 0.0), (-0.25, 0.72)], 0.05, (164, 108, 62))
        near_arm = ((-0.17, 0.5), (-0.265, 0.45))
    draw_arm(pen, near, near_arm, look, pose.open_hand)
    if look.face.braids:
        draw_braids(pen, (neck_x, neck_y), look.face.hair)
    return head
