"""Is it the same man? Figures of the hero's box and of the bounds of his likeness, on the steppe world.

    python -m steppe.same                      everything
    python -m steppe.same --only boxes --scenes 48
    python -m steppe.same --only boards --scenes 192 --skip 700     on scenes that chose nothing

No weights are trained on these scenes. The encoder gets drawings as the base's VAE shows them, and the box is found as
painting finds it, so that the figures hold for painted frames as far as the VAE spoils them. A swap is a drawing
of the same scene with another person in the hero's place: somebody else altogether, one who wears his kalpak ("robe":
robe and face are another's), or one who wears his robe ("kalpak": hat and face are another's). "today" is the cosine of
whole pictures with frame 1.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.diffusion.looking import Looked, look
from models.diffusion.painter import Painting, paint
from models.profiles import ROOT
from models.scores import Box
from models.vision.anomalies import find_copies
from models.vision.calibrating import calibrate, copies_of, pair_of
from models.vision.clip import load_scorer
from models.vision.likeness import Calibration, Seen, encoder_fingerprint, encoder_of, likeness, see
from steppe.easel import Easel, tell
from steppe.figures import DEFAULT_WEIGHTS, table
from steppe.measures import Figure, separation, share
from steppe.validation_scenes import Case, aldars
from steppe.world import random_person

SCENES = 96
FRAMES = 6
"""Of a board; the first is its reference."""
SWAPS = ("person", "robe", "kalpak")
CALIBRATED_ON = {"trained": "images", "others": "others"}
"""Kinds of pictures that the hero's calibration is made of -> their folder in data/."""
_APART = 24
"""Least difference of a pixel's channels, together, that counts as another colour."""
_ELSEWHERE = 5 * 10**6


def outline_of(case: Case, index: int | None = None) -> Box:
    """Return the box around a person in a drawing, the hero if none is named: what changes if others stand there."""
    people = case.scene.people
    place = [person.aldar for person in people].index(True) if index is None else index
    changed = np.zeros(case.picture.shape[:2], dtype=bool)
    for seed in range(3):
        other = random_person(random.Random(seed))
        swapped = replace(case.scene, people=(*people[:place], other, *people[place + 1 :]))
        changed |= np.abs(Case(swapped, case.seed).picture.astype(int) - case.picture).sum(axis=2) > _APART
    rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def swapped(case: Case, kind: str) -> Case:
    """Return the scene with another person in the hero's place, drawn anew."""
    person = random_person(random.Random(f"{kind} {case.seed}"))
    person = replace(person, borrows={"person": None, "robe": "hat", "kalpak": "robe"}[kind])
    people = tuple(person if one.aldar else one for one in case.scene.people)
    return Case(replace(case.scene, people=people), case.seed + _ELSEWHERE)


def pictures_in(folder: str) -> list[tuple[Image.Image, str]]:
    """Return the pictures in a folder of data/, with their captions."""
    texts = sorted((ROOT / "data" / folder).glob("*.txt"))
    return [(Image.open(text.with_suffix(".webp")).convert("RGB"), text.read_text(encoding="utf-8")) for text in texts]


class Lineup:
    """The pictures of all figures, each looked at once."""

    def __init__(self, easel: Easel, scenes: int, skipped: int = 0) -> None:
        self.easel, self.cases = easel, aldars(skipped + scenes)[skipped:]
        self.encoder = encoder_of(easel.profile, easel.device)
        self.looked: dict[str, list[Looked]] = {}

    def seen(self, kind: str) -> list[Seen]:
        """Return the features of a kind of pictures."""
        pictures = self.pictures(kind)
        return [one for start in range(0, len(pictures), 32) for one in see(self.encoder, pictures[start : start + 32])]

    def pictures(self, kind: str) -> list[Looked]:
        """Return a kind of pictures and where the hero is in them: "his", one of SWAPS or of CALIBRATED_ON."""
        if kind not in self.looked:
            tell(f"  looking at {kind}")
            models = self.easel.models(with_lora=True)
            self.looked[kind] = list(look(models, self.easel.profile, self._drawn(kind)))
        return self.looked[kind]

    def _drawn(self, kind: str) -> list[tuple[Image.Image, str]]:
        if kind in CALIBRATED_ON:
            return pictures_in(CALIBRATED_ON[kind])
        cases = self.cases if kind == "his" else [swapped(case, kind) for case in self.cases]
        return [(Image.fromarray(case.picture), own.text) for case, own in zip(cases, self.cases, strict=True)]

    @cached_property
    def calibration(self) -> Calibration:
        """What `python -m flows.calibrate data/images --others data/others` makes."""
        trained = self.pictures("trained")
        seen = self.seen("trained")
        copies = [
            pair_of(own, copy)
            for own, (image, hero) in zip(seen, trained, strict=True)
            for copy in see(self.encoder, copies_of(image, hero))
        ]
        profile = self.easel.profile
        fingerprint = encoder_fingerprint(profile)
        return calibrate(seen, self.seen("others"), copies, trigger=profile.trigger, encoder=fingerprint)


def box_figures(lineup: Lineup) -> list[Figure]:
    """Return how well the box is where the hero is drawn."""
    inside, overlap, found = [], [], []
    for looked, case in zip(lineup.pictures("his"), lineup.cases, strict=True):
        found.append(looked.hero.found)
        if looked.hero.box is None:
            continue
        truth, box = outline_of(case), looked.hero.box
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        inside.append(truth[0] <= middle[0] < truth[2] and truth[1] <= middle[1] < truth[3])
        overlap.append(_overlap(truth, box))
    mean = float(np.mean(overlap)) if overlap else None
    return [
        share("boxes", "the hero is found", found),
        share("boxes", "the box's middle is inside his outline", inside),
        Figure(group="boxes", name="overlap of box and outline (IoU), mean", value=mean, count=len(overlap)),
    ]


def painted_figures(lineup: Lineup) -> list[Figure]:
    """Return how well the box holds the hero in painted pictures, where nobody knows his place but the classifier."""
    easel, half = lineup.easel, lineup.cases[: len(lineup.cases) // 2]
    models, painted = easel.models(with_lora=True), list[Painting]()
    for number, case in enumerate(half):
        request = easel.request(case.text, number).model_copy(update={"trigger": easel.profile.trigger})
        painted += paint(models, [request])
    whole = [one["hero_robe"] == one["hero_hat"] == "yes" for one in _read(easel, [each.image for each in painted])]
    his = [each for each, is_him in zip(painted, whole, strict=True) if is_him]
    found = [each for each in his if each.hero is not None and each.hero.box is not None]
    alone, without = ([_masked(each, keep=keep) for each in found] for keep in (True, False))
    left = [[one["hero_robe"] == "yes" for one in _read(easel, side)] for side in (alone, without)]
    return [
        share(
            "painted", "the hero is found, where the classifier sees robe and kalpak", [each in found for each in his]
        ),
        share("painted", "his robe is seen, if all but the box is grey", left[0]),
        share("painted", "his robe is seen, if the box is grey", left[1], better="low"),
    ]


def _read(easel: Easel, images: list[Image.Image]) -> list[dict[str, str]]:
    return easel.read(np.stack([np.asarray(image) for image in images])) if images else []


def _masked(painting: Painting, *, keep: bool) -> Image.Image:
    """Return the picture with grey around the hero's box, or in it."""
    assert painting.hero is not None
    box, grey = painting.hero.box, Image.new("RGB", painting.image.size, (128, 128, 128))
    base, top = (grey, painting.image) if keep else (painting.image.copy(), grey)
    base.paste(top.crop(box), box)
    return base


def _overlap(first: Box, second: Box) -> float:
    """Return the intersection of two boxes divided by their union."""
    wide, high = (min(first[n + 2], second[n + 2]) - max(first[n], second[n]) for n in (0, 1))
    shared = max(0, wide) * max(0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


def people_figures(lineup: Lineup) -> list[Figure]:
    """Return how well each way tells the hero from swaps, beside the reference that is the scene before."""
    scorer = load_scorer(lineup.easel.profile, lineup.easel.device)
    whole = {
        kind: scorer.image_features([looked.image for looked in lineup.pictures(kind)]).numpy()
        for kind in ("his", *SWAPS)
    }
    seen, calibration = {kind: lineup.seen(kind) for kind in ("his", *SWAPS)}, lineup.calibration
    first, reference = np.roll(whole["his"], 1, axis=0), [seen["his"][n - 1] for n in range(len(seen["his"]))]

    def scores(kind: str) -> dict[str, list[float]]:
        return {
            "today": (whole[kind] * first).sum(axis=1).tolist(),
            "crop": [float(one.crop @ other.crop) for one, other in zip(seen[kind], reference, strict=True)],
            "calibrated": [calibration.score(one) for one in seen[kind]],
        }

    his, figures = scores("his"), []
    words = {"today": "whole picture / frame 1 (today)", "crop": "crop / frame 1", "calibrated": "crop, calibrated"}
    for kind in SWAPS:
        theirs = scores(kind)
        figures += [
            separation("people", f"same man or not, swap of {kind}: {words[way]}", his[way], theirs[way], goal)
            for way, goal in (("today", None), ("crop", None), ("calibrated", 0.98))
        ]
    return figures


def board_figures(lineup: Lineup) -> list[Figure]:
    """Return what is caught of swaps and of copies of frame 1 that are planted in boards, and the false alarms."""
    calibration = lineup.calibration
    seen = {kind: lineup.seen(kind) for kind in ("his", *SWAPS)}
    firsts = [n - n % FRAMES for n in range(len(seen["his"]))]

    def verdicts(kind: str) -> list[bool]:
        found = []
        for number, first in enumerate(firsts):
            if number != first:  # frame 1 is the reference
                alike = likeness(seen[kind][number], seen["his"][first], calibration, "")
                low = alike.own is None or alike.own < calibration.bounds.least
                images = [lineup.pictures(kind)[number].image, lineup.pictures("his")[first].image]
                found.append(low or bool(find_copies(images[0], images[1:], alike, calibration.bounds)))
        return found

    copies = []
    for first in sorted(set(firsts)):
        image, hero = lineup.pictures("his")[first]
        for copy, other in zip(copies_of(image, hero), see(lineup.encoder, copies_of(image, hero)), strict=True):
            alike = likeness(other, seen["his"][first], calibration, "")
            copies.append(bool(find_copies(copy[0], [image], alike, calibration.bounds)))
    alarms = share("boards", "false alarms: his own frames that are refused", verdicts("his"), goal=2.0, better="low")
    caught = [share("boards", f"planted swaps of {kind}, caught", verdicts(kind), goal=95.0) for kind in SWAPS]
    bounds = calibration.bounds
    detail = f"least {bounds.least:.3f}, most {bounds.most:.3f} and {bounds.most_around:.3f} around"
    return [alarms, *caught, share("boards", "planted copies of frame 1, caught", copies, goal=95.0, detail=detail)]


MEASURES: dict[str, Callable[[Lineup], list[Figure]]] = {
    "boxes": box_figures,
    "painted": painted_figures,
    "people": people_figures,
    "boards": board_figures,
}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m steppe.same", description="Measure how the hero is told apart.")
    parser.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS, help="folder of the models (%(default)s)")
    parser.add_argument("--scenes", type=int, default=SCENES, help="scenes with the hero (default: %(default)s)")
    parser.add_argument("--skip", type=int, default=0, help="leave out this many scenes before (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="only this; may be given again")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures here too")
    given = parser.parse_args(arguments)
    if given.scenes < FRAMES:
        parser.error(f"--scenes {given.scenes} must be {FRAMES} at least")
    return given


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the table."""
    given, started = parse(arguments), time.monotonic()
    lineup = Lineup(Easel(given.weights, given.device, 1), given.scenes, given.skip)
    figures: list[dict[str, Any]] = []
    for name in given.only or MEASURES:
        tell(f"{name} ({time.monotonic() - started:.0f} s)")
        figures += [figure.as_json() for figure in MEASURES[name](lineup)]
    print(table(figures))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        told = {"scenes": given.scenes, "skipped": given.skip, "device": given.device, "figures": figures}
        given.out.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
