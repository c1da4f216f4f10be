"""A finished board as all forms read it: its panels in order, each with its picture, its words and its time."""

from __future__ import annotations

import itertools
from pathlib import Path

from PIL import Image
from pydantic import Field

from models.board.finished import Board
from models.board.report import FrameReport
from models.errors import CorruptFile
from models.records import Panel, Record
from models.storage.files import local_errors

FPS = 24
"""Frames a second of cinema."""


class ExportTake(Record):
    """An earlier picture of a panel, which a redo replaced."""

    picture: Path
    """Absolute path; the file may be gone, since takes may be deleted."""
    seed: int
    accepted: bool


class ExportPanel(Record):
    """One panel of the board."""

    frame: int
    """Number of the frame, from 1."""
    shot: str
    """The shot's number, else the frame's."""
    picture: Path
    """Absolute path of its PNG."""
    width: int
    height: int
    caption: str
    action: str
    panel: Panel
    start: float = Field(ge=0)
    """Seconds from the beginning of the board."""
    end: float = Field(gt=0)
    seed: int
    accepted: bool
    """False for a weak frame."""
    consistency: float | None
    """Image similarity to frame 1; None for frame 1."""
    prompt_score: float
    takes: tuple[ExportTake, ...] = ()


class ExportBoard(Record):
    """All panels and what they tell."""

    title: str
    story: str
    panels: tuple[ExportPanel, ...] = Field(min_length=1)
    fps: int = Field(FPS, ge=1, le=240)
    """Frames a second, for the forms that count in frames."""
    folder: Path
    """The board's directory, absolute."""

    @property
    def seconds(self) -> float:
        """How long the whole board is seen."""
        return self.panels[-1].end


def export_board(board: Board, fps: int = FPS) -> ExportBoard:
    """Return a board for the forms. Order and times are those of scene_breakdown.json, which people may change.

    Args:
        board: from read_board, which has checked its files.
        fps: frames a second.

    Raises:
        CorruptFile: a picture can't be read.
        ObjectNotFound, StorageError: its file can't be read.
    """
    folder, frames = Path(board.folder), board.report.frames
    scenes = board.breakdown.seen
    ends = [round(end, 6) for end in itertools.accumulate(scene.panel.seconds for scene in scenes)]
    panels = (
        _panel(frames[scene.number - 1], scene.panel, folder, (start, end))
        for scene, start, end in zip(scenes, [0.0, *ends], ends, strict=False)
    )
    return ExportBoard(title=board.report.title, story=board.report.story, panels=tuple(panels), fps=fps, folder=folder)


def _panel(frame: FrameReport, panel: Panel, folder: Path, seen: tuple[float, float]) -> ExportPanel:
    scene, picture = frame.scene, folder / frame.file
    width, height = _size(picture)
    return ExportPanel(
        frame=frame.number,
        shot=panel.shot_number or str(frame.number),
        picture=picture,
        width=width,
        height=height,
        caption=scene.caption,
        action=scene.action,
        panel=panel,
        start=seen[0],
        end=seen[1],
        seed=frame.seed,
        accepted=frame.accepted,
        consistency=frame.consistency_score,
        prompt_score=frame.prompt_score,
        takes=tuple(
            ExportTake(picture=folder / take.file, seed=take.seed, accepted=take.accepted) for take in frame.takes
        ),
    )


def _size(picture: Path) -> tuple[int, int]:
    try:
        with local_errors(picture), picture.open("rb") as file, Image.open(file) as image:
            return image.size
    except (ValueError, SyntaxError) as error:
        raise CorruptFile(f"{picture} is not a readable picture: {error}") from None
