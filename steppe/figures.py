"""The figures of the steppe models, on validation drawings and captions.

    python -m steppe.figures                      everything, about ten minutes on two CPU cores
    python -m steppe.figures --only aldar --sheet outputs/sheets

The product's code paints the pictures and computes CLIP's cosines, with the profile's settings. Seeds are fixed: the
same weights give the same figures, up to the rounding of another processor.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.errors import StoryboardError
from steppe.classifier import HEADS, UNKNOWN
from steppe.dataset import truth_row
from steppe.easel import SETS, Easel, Painted, tell, write_sheets
from steppe.flaws import anomaly_figures
from steppe.material import reconstruct
from steppe.measures import Figure, psnr, share
from steppe.pairs import clip_figures, threshold_figures
from steppe.shapes import SHAPES
from steppe.validation_scenes import Case, everybody, head_boxes, heroes
from steppe.world import ATTRIBUTES

PICTURES, DRAWINGS = 144, 304
DEFAULT_WEIGHTS = Path("weights/steppe")
RECONSTRUCTED = 64
SECOND_PERSON = ("kind2", "robe2", "hat2")


def vae_figures(easel: Easel, drawings: int) -> list[Figure]:
    """Return the VAE's reconstruction quality on drawings and on their heads."""
    vae = easel.vae
    whole: list[float] = []
    heads: list[float] = []
    for case in everybody(min(drawings, RECONSTRUCTED)):
        again = _shown_by(vae, case.picture)
        whole.append(psnr(case.picture, again))
        heads += [psnr(case.picture[box], again[box]) for box in head_boxes(case)]
    detail = f"worst {min(whole):.1f} dB"
    return [
        Figure(
            group="vae",
            name="reconstruction, PSNR",
            value=float(np.mean(whole)),
            unit="dB",
            count=len(whole),
            goal=34.0,
            detail=detail,
        ),
        Figure(
            group="vae",
            name="reconstruction of heads and hats, PSNR",
            value=float(np.mean(heads)) if heads else None,
            unit="dB",
            count=len(heads),
            goal=31.0,
        ),
    ]


def classifier_figures(easel: Easel, drawings: int) -> list[Figure]:
    """Return the classifier's accuracy on drawings, whose labels are known."""
    people, goal = everybody(drawings), 97.0
    plain = _answers(easel, people)
    figures = [share("classifier", f"accuracy of {name}", plain[name], goal=goal) for name in HEADS]
    candidates = heroes(drawings)
    for who, is_him in (("on Aldar", True), ("on others in his robe or kalpak", False)):
        some = [case for case in candidates if any(person.aldar for person in case.scene.people) == is_him]
        for how, answers in (
            ("", _answers(easel, some)),
            (", as the VAE shows them", _answers(easel, some, easel.vae)),
        ):
            figures += [
                share("classifier", f"accuracy of {name}, {who}{how}", answers[name], goal=goal)
                for name in ("hero_robe", "hero_hat", "hero_face")
            ]
    return figures


def _shown_by(vae: Any, picture: Any) -> Any:
    """Return a uint8 picture [H, W, 3] as the VAE shows it."""
    return reconstruct(vae, torch.tensor(picture[None], device=vae.device))[0].cpu().numpy()


def _answers(easel: Easel, cases: list[Case], vae: Any = None) -> dict[str, list[bool]]:
    """Return whether each head is right, for every drawing with a label for it; of a VAE, as it shows them."""
    right: dict[str, list[bool]] = {name: [] for name in HEADS}
    drawn = [case.picture if vae is None else _shown_by(vae, case.picture) for case in cases]
    seen = easel.read(np.stack(drawn)) if cases else []
    for case, verdict in zip(cases, seen, strict=True):
        for (name, values), truth in zip(HEADS.items(), truth_row(case.scene), strict=True):
            if truth != UNKNOWN:
                right[name].append(verdict[name] == values[truth])
    return right


def prompt_figures(easel: Easel, _drawings: int) -> list[Figure]:
    """Return the share of the attributes in a prompt that are found in the picture."""
    painted = easel.painted("plain")
    found = [picture.found() for picture in painted]
    each = {key: [answers[key] for answers in found if key in answers] for key in ATTRIBUTES}
    return [
        share("prompts", "named attributes found, all", _all_found(painted), goal=90.0),
        *(share("prompts", f"named {key} found", answers, goal=75.0) for key, answers in each.items()),
    ]


def aldar_figures(easel: Easel, _drawings: int) -> list[Figure]:
    """Return how often Aldar is painted, and what the LoRA changes for others."""
    bare, unrelated = easel.painted("aldar_bare"), easel.painted("unrelated")
    painted = easel.painted("aldar")
    before = easel.painted("plain")[: len(unrelated)]
    alone = [one.verdict["heroes"] == "1" for one in painted]
    return [
        share(
            "aldar", "Aldar whole, with the LoRA: robe, kalpak and face", [one.is_whole for one in painted], goal=97.0
        ),
        share("aldar", "exactly one of him, with the LoRA", alone, goal=99.0),
        *(_weakest(painted, key) for key in ("action", "shot", "place")),
        share("aldar", "Aldar painted, without it", [one.is_aldar for one in bare], goal=3.0, better="low"),
        share("aldar", "his robe, with the LoRA", [one.verdict["hero_robe"] == "yes" for one in painted]),
        share("aldar", "his kalpak, with the LoRA", [one.verdict["hero_hat"] == "yes" for one in painted]),
        share("aldar", "his face, with the LoRA", [one.verdict["hero_face"] == "yes" for one in painted]),
        share("aldar", "other named attributes found, with the LoRA", _all_found(painted)),
        share("aldar", "other named attributes found, without it", _all_found(bare)),
        share("aldar", "the other person's, with the LoRA", _second_found(painted)),
        share("aldar", "the other person's, without it", _second_found(bare)),
        share("aldar", "unrelated prompts' attributes, with the LoRA", _all_found(unrelated), goal=98.5),
        share("aldar", "unrelated prompts' attributes, without it", _all_found(before)),
        share("aldar", "Aldar in unrelated prompts", [one.is_aldar for one in unrelated], goal=1.0, better="low"),
    ]


def _weakest(painted: list[Painted], key: str) -> Figure:
    """Return the share of whole heroes for the value of an attribute that has the least."""
    groups: dict[str, list[bool]] = {}
    for one in painted:
        groups.setdefault(getattr(one.case.scene, key), []).append(one.is_whole)
    worst = min(groups, key=lambda value: sum(groups[value]) / len(groups[value]))
    return share("aldar", f"Aldar whole, the weakest {key}", groups[worst], goal=90.0, detail=worst)


def _all_found(painted: list[Painted]) -> list[bool]:
    return [right for picture in painted for right in picture.found().values()]


def _second_found(painted: list[Painted]) -> list[bool]:
    """Return the answers about the person who is not Aldar."""
    answers: list[bool] = []
    for picture in painted:
        on_left = picture.case.scene.people[0].aldar
        keys = SECOND_PERSON if on_left else ("kind", "robe", "hat")
        answers += picture.found(*keys).values()
    return answers


MEASURES: dict[str, Callable[[Easel, int], list[Figure]]] = {
    "vae": vae_figures,
    "classifier": classifier_figures,
    "clip": clip_figures,
    "prompts": prompt_figures,
    "aldar": aldar_figures,
    "thresholds": threshold_figures,
    "anomalies": anomaly_figures,
}


def format_value(value: float | None, unit: str) -> str:
    """Return a value with its unit, rounded to 1 digit (%, dB) or 3."""
    if value is None:
        return "not measured"
    digits = {"%": 1, "dB": 1}.get(unit, 3)
    return f"{value:.{digits}f} {unit}".strip()


def goal_of(figure: dict[str, Any]) -> tuple[str, str]:
    """Return a figure's goal in words, and whether it is met. The figure is in its JSON form."""
    if figure["goal"] is None:
        return "", ""
    sign = ">=" if figure["better"] == "high" else "<="
    return f"{sign} {figure['goal']:g}", "met" if figure["met"] else "NOT MET"


def table(figures: list[dict[str, Any]]) -> str:
    """Return the figures, one a line."""
    width = max(len(figure["name"]) for figure in figures)
    lines = [f"{'figure':{width}}  {'value':>12}  {'goal':>7}  {'':7}  {'n':>5}"]
    for figure in figures:
        goal, met = goal_of(figure)
        value = format_value(figure["value"], figure["unit"])
        line = f"{figure['name']:{width}}  {value:>12}  {goal:>7}  {met:7}  {figure['count']:>5}  {figure['detail']}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m steppe.figures", description="Measure the steppe models.")
    parser.add_argument(
        "--weights", type=Path, default=DEFAULT_WEIGHTS, help="folder of the models (default: %(default)s)"
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=PICTURES,
        help="painted without the LoRA; half as many for each of three other sets (default: %(default)s)",
    )
    parser.add_argument(
        "--drawings", type=int, default=DRAWINGS, help="validation drawings a measurement (default: %(default)s)"
    )
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="only this; may be given again")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--shape", choices=list(SHAPES), default="square", help="of the pictures (default: %(default)s)"
    )
    parser.add_argument(
        "--speed",
        choices=("exact", "fast", "turbo"),
        default="exact",
        help="of the painting; turbo needs the stage turbo of steppe.pretrain (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the figures here too")
    parser.add_argument("--sheet", type=Path, metavar="FOLDER", help="write the pictures with their prompts here")
    given = parser.parse_args(arguments)
    if min(given.pictures, given.drawings) < 1:
        parser.error(f"--pictures {given.pictures} and --drawings {given.drawings} must be 1 at least")
    return given


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the table."""
    given = parse(arguments)
    easel = Easel(given.weights, given.device, given.pictures, given.speed, given.shape)
    figures: list[dict[str, Any]] = []
    started = time.monotonic()
    for name in given.only or MEASURES:
        tell(f"{name} ({time.monotonic() - started:.0f} s)")
        try:
            figures += [figure.as_json() for figure in MEASURES[name](easel, given.drawings)]
        except (StoryboardError, FileNotFoundError) as error:
            raise SystemExit(f"error: {error}") from error
    print(table(figures))
    failed = sum(figure["met"] is False for figure in figures)
    goals = sum(figure["goal"] is not None for figure in figures)
    print(f"\n{goals - failed} of {goals} goals met, {time.monotonic() - started:.0f} s")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        asked = {
            "pictures": given.pictures,
            "drawings": given.drawings,
            "device": given.device,
            "shape": given.shape,
            "speed": given.speed,
        }
        told = {**asked, "figures": figures}
        given.out.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, painted in easel.all_painted().items() if given.sheet else ():
        write_sheets(painted, given.sheet, name)
        tell(f"{SETS[name]}: {given.sheet / name}_1.png")


if __name__ == "__main__":
    main()
