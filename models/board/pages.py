"""A report as people look at it: the contact sheet, and the dashboard's markdown and table."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from models.board.contact_sheet import Panel, contact_sheet
from models.board.directory import frame_name
from models.board.report import FrameReport, Report, show_score
from models.storage import write_atomically

CONTACT_SHEET = "contact_sheet.png"
SHOWN_WIDTH = 1200
"""Width in pixels of the contact sheet in the dashboard, which carries it in its text."""


def write_sheet(report: Report, board: Path) -> Image.Image:
    """Draw the contact sheet of the frames in `board`, and write it there.

    Raises:
        ObjectNotFound, CorruptFile: a frame's picture is gone or broken.
        StorageError: the board cannot be written.
    """
    panels = [
        Panel(board / frame_name(frame.number), frame.scene.caption, _note(frame), frame.accepted)
        for frame in report.frames
    ]
    footer = f"{report.profile}, {report.pipeline.replace('_', ' ')}, base seed {report.base_seed}"
    sheet = contact_sheet(panels, report.title, story=report.story, footer=footer)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomically(board / CONTACT_SHEET, buffer.getvalue())
    return sheet


def _note(frame: FrameReport) -> str:
    likeness = "reference" if frame.reference else f"likeness {show_score(frame.consistency_score)}"
    return f"{likeness} · prompt {show_score(frame.prompt_score)} · seed {frame.seed}"


def sheet_markdown(sheet: Image.Image) -> str:
    """The contact sheet as markdown that carries its picture: a dashboard shows no files of this machine."""
    small = sheet.convert("RGB")
    small.thumbnail((SHOWN_WIDTH, sheet.height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85, optimize=True)
    return f"![contact sheet](data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')})\n"


def score_rows(report: Report) -> list[dict[str, str | int]]:
    """A row for every candidate: what was painted at each attempt, and why it was refused."""
    return [
        {
            "frame": frame.number,
            "attempt": candidate.attempt + 1,
            "seed": candidate.seed,
            "likeness": "reference" if frame.reference else show_score(candidate.scores.consistency),
            "prompt": show_score(candidate.scores.prompt),
            "verdict": "accepted" if candidate.accepted else "; ".join(candidate.reasons),
            "kept": "yes" if candidate.sha256 == frame.sha256 else "",
        }
        for frame in report.frames
        for candidate in frame.candidates
    ]


def report_markdown(report: Report, board: Path) -> str:
    """What was asked for, what was made of it, how long it took, and where it lies."""
    return "\n".join([*_facts(report, board), "", *_frame_table(report), "", *_stage_table(report)]) + "\n"


def _facts(report: Report, board: Path) -> Iterator[str]:
    yield f"# {_plain(report.title)}"
    yield f"\n> {_plain(report.story)}\n"
    yield f"- **Files:** `{board}`"
    yield f"- **Profile:** {report.profile}, {report.pipeline} on {report.device} in {report.precision}"
    yield f"- **Writer:** {report.writer}; base seed {report.base_seed}"
    average, least = show_score(report.average_consistency), show_score(report.min_consistency)
    yield f"- **Likeness to frame 1:** {average} on average, {least} at least; asked for {report.threshold:.2f}"
    if report.weak_frames:
        numbers = ", ".join(map(str, report.weak_frames))
        yield f"- **Weak frames:** {numbers}. Run again with more `attempts`, another `seed` or a lower `threshold`."


def _frame_table(report: Report) -> Iterator[str]:
    yield "| frame | scene | prompt | seed | likeness | prompt score | verdict |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for frame in report.frames:
        likeness = "reference" if frame.reference else show_score(frame.consistency_score)
        verdict = "accepted" if frame.accepted else "**weak**"
        cells = (frame.number, _plain(frame.scene.caption), _plain(frame.prompt), frame.seed, likeness)
        yield f"| {' | '.join(map(str, cells))} | {show_score(frame.prompt_score)} | {verdict} |"


def _stage_table(report: Report) -> Iterator[str]:
    yield "| stage | seconds |"
    yield "| --- | --- |"
    yield from (f"| {stage} | {seconds:.1f} |" for stage, seconds in report.seconds.items())


def _plain(text: str) -> str:
    """Text that markdown shows as it is: a story may hold pipes, tags or links."""
    return "".join(f"\\{mark}" if mark in "\\`*_{}[]<>#|!" else mark for mark in text)
