"""Subtitles, SRT and WebVTT: what is said in each panel, else its caption."""

from __future__ import annotations

import html
from pathlib import Path

from models.export.options import ExportOptions
from models.export.panels import ExportBoard, ExportPanel


def write_srt(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the board's subtitles as SubRip; it has no warnings."""
    cues = (
        f"{count}\n{_time(panel.start, ',')} --> {_time(panel.end, ',')}\n{words_of(panel)}\n"
        for count, panel in enumerate(board.panels, start=1)
    )
    file.write_bytes("\n".join(cues).encode())
    return ()


def write_vtt(board: ExportBoard, options: ExportOptions, file: Path) -> tuple[str, ...]:
    """Write the board's subtitles as WebVTT; it has no warnings."""
    cues = (
        f"{panel.shot}\n{_time(panel.start, '.')} --> {_time(panel.end, '.')}\n"
        f"{html.escape(words_of(panel), quote=False)}\n"
        for panel in board.panels
    )
    file.write_bytes("\n".join(("WEBVTT\n", *cues)).encode())
    return ()


def words_of(panel: ExportPanel) -> str:
    """Return what is said, a line each, else the caption; without blank lines, which would end a cue."""
    said = [f"{speech.speaker}: {speech.text}" for speech in panel.panel.dialogue] or [panel.caption]
    return "\n".join(" ".join(line.split()) for line in said)


def _time(seconds: float, point: str) -> str:
    """Return a time as 00:00:04,500."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{point}{thousandths:03d}"
