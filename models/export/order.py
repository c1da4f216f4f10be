"""Order and seconds of an edited timeline, brought back to the board."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from models.board.directory import SCENES_FILE, write_json
from models.board.finished import Board, changing, read_board
from models.errors import InputError
from models.export.timelines import METADATA
from models.records import Panel, Record
from models.settings import explain
from models.storage.files import local_errors


class Seen(NamedTuple):
    """One clip of the timeline."""

    frame: int
    sha256: str
    """Of its picture when the timeline was written."""
    seconds: float
    written: float
    """Its seconds when the timeline was written. Where they are equal nobody edited them, and the board's are kept,
    which need be no whole frames."""


class Ordered(Record):
    """What a timeline changed."""

    order: tuple[int, ...]
    left_out: tuple[int, ...]
    """Frames that the timeline no longer shows; they stay on the board."""
    retimed: tuple[int, ...]
    """Frames that are seen for another time than before."""

    def __str__(self) -> str:
        parts = [f"order {', '.join(map(str, self.order))}"]
        parts += [f"left out {', '.join(map(str, self.left_out))}"] if self.left_out else []
        parts += [f"other seconds for {', '.join(map(str, self.retimed))}"] if self.retimed else []
        return "; ".join(parts)


def bring_back(folder: str | Path, timeline: str | Path) -> Ordered:
    """Write order and seconds of an edited .otio file into the board's scene_breakdown.json.

    Pictures, prompts and report stay as they are: frames keep their numbers.

    Raises:
        InputError: the file is no timeline of this board; the message names what is wrong.
        StorageError: a file can't be read, or the board can't be written.
    """
    clips = read_timeline(Path(timeline))
    with changing(Path(read_board(folder).folder)) as copy:
        board = read_board(copy)
        _refuse_foreign(clips, board, Path(timeline))
        scenes = {scene.number: scene for scene in board.breakdown.scenes}
        edited = [seen for seen in clips if seen.seconds not in (seen.written, scenes[seen.frame].panel.seconds)]
        for seen in edited:
            panel = _retimed(scenes[seen.frame].panel, seen, Path(timeline))
            scenes[seen.frame] = scenes[seen.frame].model_copy(update={"panel": panel})
        order = tuple(seen.frame for seen in clips)
        kept = () if order == tuple(scenes) else order
        write_json(
            copy, SCENES_FILE, board.breakdown.model_copy(update={"scenes": tuple(scenes.values()), "order": kept})
        )
    left_out = tuple(number for number in scenes if number not in order)
    return Ordered(order=order, left_out=left_out, retimed=tuple(seen.frame for seen in edited))


def read_timeline(file: Path) -> tuple[Seen, ...]:
    """Return the clips of a timeline's first video track, in order; two pieces of one clip side by side count as one.

    Raises:
        InputError: it is no .otio file, or a clip is none of this project's.
        StorageError: it can't be read.
    """
    timeline = _read(file)  # kept, because the library frees clips with their timeline
    tracks = timeline.video_tracks()
    found: list[Seen] = []
    for clip in tracks[0].find_clips() if tracks else ():
        seen = _seen(clip, file)
        if found and found[-1].frame == seen.frame:
            found[-1] = seen._replace(seconds=round(found[-1].seconds + seen.seconds, 6))
        elif any(before.frame == seen.frame for before in found):
            places = f"{_where(found, seen.frame)} and {len(found) + 1}"
            raise InputError(f"{file}: frame {seen.frame} is seen twice, at {places}")
        else:
            found.append(seen)
    if not found:
        raise InputError(f"{file}: its first video track has no clips")
    return tuple(found)


def _seen(clip: Any, file: Path) -> Seen:
    try:
        noted = dict(clip.metadata[METADATA])
        frame, sha256, written = noted["frame"], noted["sha256"], noted["seconds"]
        if not isinstance(frame, int) or not isinstance(sha256, str) or not isinstance(written, int | float):
            raise TypeError
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{file}: clip {clip.name!r} is none of a storyboard; start from an export --as otio"
        ) from None
    return Seen(frame, sha256, round(clip.trimmed_range().duration.to_seconds(), 6), round(float(written), 6))


def _read(file: Path) -> Any:
    import opentimelineio

    with local_errors(file):
        text = file.expanduser().read_bytes()
    try:
        timeline = opentimelineio.adapters.read_from_string(text.decode(), adapter_name="otio_json")
    except (opentimelineio.exceptions.OTIOError, ValueError):  # UnicodeDecodeError is a ValueError
        timeline = None
    if not isinstance(timeline, opentimelineio.schema.Timeline):
        raise InputError(f"{file}: no timeline of OpenTimelineIO; save the edited one as .otio")
    return timeline


def _where(found: list[Seen], frame: int) -> int:
    return next(place for place, seen in enumerate(found, start=1) if seen.frame == frame)


def _refuse_foreign(clips: tuple[Seen, ...], board: Board, file: Path) -> None:
    """Refuse a clip whose picture is neither on the board nor an earlier take of its frame."""
    pictures = {frame.number: {frame.sha256, *(take.sha256 for take in frame.takes)} for frame in board.report.frames}
    for seen in clips:
        if seen.frame not in pictures:
            raise InputError(f"{file}: frame {seen.frame} is not on this board, which has {len(pictures)} frames")
        if seen.sha256 not in pictures[seen.frame]:
            raise InputError(f"{file}: its frame {seen.frame} has a picture of another board")


def _retimed(panel: Panel, seen: Seen, file: Path) -> Panel:
    try:
        return Panel.model_validate(panel.model_dump() | {"seconds": seen.seconds})
    except ValidationError as error:
        raise InputError(f"{file}: frame {seen.frame}: {explain(error, valid=Panel.model_fields)}") from None
