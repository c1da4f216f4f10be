"""Timelines for editors: OpenTimelineIO, Final Cut Pro 7 XML and CMX 3600 EDL, all written from one timeline.

Pictures are named relative to the file, as ../frame_001.png, so that the board's folder can be moved as a whole.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from models.export.cuts import cuts
from models.export.film import film_size
from models.export.options import ExportOptions
from models.export.panels import ExportBoard, ExportPanel
from models.sizes import Size
from models.storage.files import sha256_of

METADATA: Final = "aldar_storyboard"
"""Key of what this project notes on a clip: the frame's number, its picture's sha256 and its length."""


def write_otio(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the timeline as OpenTimelineIO; it has no warnings."""
    return _write(_timeline(board, file.parent), file, "otio_json")


def write_fcp_xml(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the timeline as Final Cut Pro 7's XML; it has no warnings."""
    timeline = _timeline(board, file.parent)
    timeline.metadata["fcp_xml"] = {"media": {"video": {"format": _pixels(film_size(board))}}}
    for clip, panel in zip(timeline.find_clips(), board.panels, strict=True):
        size = Size(panel.width, panel.height)
        clip.media_reference.metadata["fcp_xml"] = {"media": {"video": _pixels(size)}}
    return _write(timeline, file, "fcp_xml")


def write_edl(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the timeline as CMX 3600 EDL; it has no warnings."""
    return _write(_timeline(board, file.parent), file, "cmx_3600", rate=board.fps)


def _pixels(size: Size) -> dict[str, Any]:
    return {"samplecharacteristics": {"width": str(size.width), "height": str(size.height)}}


def _write(timeline: Any, file: Path, adapter: str, **more: Any) -> tuple[str, ...]:
    import opentimelineio

    text = opentimelineio.adapters.write_to_string(timeline, adapter_name=adapter, **more)
    file.write_bytes(text.encode())
    return ()


def _timeline(board: ExportBoard, folder: Path) -> Any:
    from opentimelineio import opentime, schema

    timeline = schema.Timeline(
        name=" ".join(board.title.split()), global_start_time=opentime.RationalTime(0, board.fps)
    )
    track = schema.Track(name="V1", kind=schema.TrackKind.Video)
    track.extend(
        _clip(panel, folder, end - start, board.fps)
        for panel, (start, end) in zip(board.panels, pairwise(cuts(board)), strict=True)
    )
    timeline.tracks.append(track)
    return timeline


def _clip(panel: ExportPanel, folder: Path, frames: int, fps: int) -> Any:
    from opentimelineio import opentime, schema

    seen = opentime.TimeRange(opentime.RationalTime(0, fps), opentime.RationalTime(frames, fps))
    path = Path(os.path.relpath(panel.picture, folder)).as_posix()
    picture = schema.ExternalReference(target_url=path, available_range=seen)
    picture.name = panel.picture.name
    noted = {
        "frame": panel.frame,
        "sha256": sha256_of(panel.picture),
        "seconds": seen.duration.to_seconds(),
        "caption": panel.caption,
        "panel": panel.panel.model_dump(mode="json"),
    }
    return schema.Clip(name=panel.shot, media_reference=picture, source_range=seen, metadata={METADATA: noted})
