"""Boards for the forms of an export, with pictures of any shape, without painting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from written_boards import noise

from models.export.options import ExportOptions
from models.export.panels import ExportBoard, ExportPanel
from models.records import Panel, Speech

KAZAKH, RUSSIAN, ARABIC, CHINESE = "Көсе байды алдады, ғұүің", "Алдар украл верблюда", "الدار كوسه", "阿尔达骗商人"
FULL = Panel(
    shot_number="2A",
    shot_size="EWS",
    angle="over the shoulder",
    movement="dolly",
    dialogue=(Speech(speaker="Aldar", text="A fair swap?"), Speech(speaker="Хан", text="Ешқашан!")),
    sound="wind and bells",
    notes="Snow; no music.",
    seconds=2.5,
)


def board_of(
    folder: Path, *captions: str, size: tuple[int, int] = (96, 54), title: str = "The khan", **more: Any
) -> ExportBoard:
    """A panel for each caption; the second says everything that a panel can say."""
    folder.mkdir(exist_ok=True)
    panels, time = list[ExportPanel](), 0.0
    for frame, caption in enumerate(captions, start=1):
        picture, panel = folder / f"frame_{frame:03d}.png", FULL if frame == 2 else Panel()
        noise(frame, size).save(picture)
        given = {"caption": caption, "action": "is bowing", "panel": panel, "seed": frame, "accepted": True, **more}
        panels.append(
            ExportPanel(
                frame=frame,
                shot=panel.shot_number or str(frame),
                picture=picture,
                width=size[0],
                height=size[1],
                start=time,
                end=time + panel.seconds,
                consistency=None if frame == 1 else 0.8,
                prompt_score=0.31,
                **given,
            )
        )
        time += panel.seconds
    return ExportBoard(title=title, story="Aldar outwits the khan", panels=tuple(panels), folder=folder)


def options(**given: Any) -> ExportOptions:
    """These options of an export."""
    return ExportOptions.model_validate(given)
