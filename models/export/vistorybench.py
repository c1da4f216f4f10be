"""A board as ViStoryBench's evaluator reads it (https://github.com/ViStoryBench/vistorybench): a ZIP for its `data`.

outputs/storyboard/<profile>/en/<YYYYMMDD-HHMMSS>/01/shots/shot_00.png …    what is evaluated
dataset/storyboard/01/story.json                                            the story, in the words of its dataset
dataset/storyboard/01/image/hero/00.png                                     the hero: his crop in frame 1
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image

from models.board.directory import REPORT_FILE, SCENES_FILE
from models.board.report import Report
from models.errors import CorruptFile
from models.export.options import ExportOptions
from models.export.panels import ExportBoard
from models.records import Scene, SceneBreakdown
from models.storage.files import local_errors

METHOD, LANGUAGE, STORY, HERO = "storyboard", "en", "01", "hero"


def write_vistorybench(board: ExportBoard, _options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the ZIP; warns where the hero's picture is the whole of frame 1."""
    with local_errors(board.folder):
        report = Report.model_validate_json((board.folder / REPORT_FILE).read_bytes())
        breakdown = SceneBreakdown.model_validate_json((board.folder / SCENES_FILE).read_bytes())
    shots = f"outputs/{METHOD}/{report.profile}/{LANGUAGE}/{report.finished:%Y%m%d-%H%M%S}/{STORY}/shots"
    dataset = f"dataset/{METHOD}/{STORY}"
    first = report.frames[0]
    box = first.hero.box if first.hero is not None else None
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number, panel in enumerate(board.panels):
            with local_errors(panel.picture):
                archive.write(panel.picture, f"{shots}/shot_{number:02d}.png")
        archive.writestr(f"{dataset}/story.json", json.dumps(_story(breakdown), ensure_ascii=False, indent=2))
        archive.writestr(f"{dataset}/image/{HERO}/00.png", _crop(board.folder / first.file, box))
    if box is None:
        return ("ViStoryBench's picture of the hero is the whole of frame 1, where he was not found.",)
    return ()


def _crop(picture: Path, box: tuple[int, int, int, int] | None) -> bytes:
    buffer = io.BytesIO()
    try:
        with local_errors(picture), Image.open(picture) as image:
            image.convert("RGB").crop(box).save(buffer, "PNG")
    except (ValueError, SyntaxError) as error:
        raise CorruptFile(f"{picture} is not a readable picture: {error}") from None
    return buffer.getvalue()


def _story(breakdown: SceneBreakdown) -> dict[str, Any]:
    """Return the story in the form of the benchmark's story.json, in English keys only."""
    cast = {member.name: member.description for member in breakdown.cast}
    people = {HERO: "the hero, as in his picture", **cast}
    counts = {name: sum(name in _people(scene) for scene in breakdown.scenes) for name in people}
    return {
        "Story_type": {LANGUAGE: "Folktale"},
        "Characters": {
            name: {
                "tag": "unrealistic_human",
                "name_en": name,
                "prompt_en": description,
                "num_of_appearances": counts[name],
            }
            for name, description in people.items()
        },
        "Shots": [_shot(number, scene) for number, scene in enumerate(breakdown.scenes, start=1)],
    }


def _people(scene: Scene) -> list[str]:
    return [HERO, *scene.cast]


def _shot(number: int, scene: Scene) -> dict[str, Any]:
    texts = {
        "Plot Correspondence": scene.caption,
        "Setting Description": f"{scene.place}, {scene.time}",
        "Shot Perspective Design": f"{scene.shot}, {scene.panel.angle}",
        "Static Shot Description": ", ".join([f"{HERO} {scene.action}", *scene.things]),
    }
    own = {name: {LANGUAGE: text} for name, text in texts.items()}
    return {"index": number, **own, "Characters Appearing": {LANGUAGE: _people(scene)}}
