"""Presents a report: the contact sheet, and the dashboard's markdown and table."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.board.contact_sheet import Panel, contact_sheet
from models.board.directory import frame_name
from models.board.markdown import code, escape, inline_picture
from models.board.panel_words import panel_dialogue, panel_facts
from models.board.report import CandidateReport, FrameReport, Report, show_score
from models.origin.mark import COMPOSED, XMP_KEYWORD, xmp_packet
from models.storage.files import write_atomically

CONTACT_SHEET = "contact_sheet.png"
SHOWN_WIDTH = 1200
"""Width in pixels of the contact sheet in the dashboard, where it is embedded in the text."""


def write_sheet(report: Report, board: Path) -> Image.Image:
    """Draw the contact sheet of the board's frames, write it into the board, and return it.

    Raises:
        ObjectNotFound, CorruptFile: a frame's picture is missing or broken.
        StorageError: the board can't be written.
    """
    panels = [
        Panel(
            picture=board / frame_name(frame.number),
            caption=frame.scene.caption,
            note=_note(frame),
            accepted=frame.accepted,
            dialogue=panel_dialogue(frame.scene),
            facts=panel_facts(frame.scene),
        )
        for frame in report.frames
    ]
    footer = f"{report.profile}, {report.pipeline.replace('_', ' ')}, base seed {report.base_seed}"
    sheet = contact_sheet(panels, report.title, story=_story_beyond_title(report), footer=footer)
    buffer = io.BytesIO()
    mark = PngInfo()
    mark.add_itxt(XMP_KEYWORD, xmp_packet(COMPOSED))
    sheet.save(buffer, "PNG", pnginfo=mark, compress_level=4)  # half the time of level 6, and 3 % more bytes
    write_atomically(board / CONTACT_SHEET, buffer.getvalue())
    return sheet


def _story_beyond_title(report: Report) -> str:
    """Return the story, or "" if the title is the same."""
    return "" if report.story == report.title else report.story


def _note(frame: FrameReport) -> str:
    similarity = "reference" if frame.reference else f"image similarity {show_score(frame.consistency_score)}"
    return f"{similarity} · prompt {show_score(frame.prompt_score)} · seed {frame.seed}"


def sheet_markdown(sheet: Image.Image) -> str:
    """Return the contact sheet embedded in markdown, because a dashboard can't show local files."""
    return f"{inline_picture(reduced(sheet), 'jpeg', 'contact sheet')}\n"


def reduced(sheet: Image.Image) -> bytes:
    """Return a sheet as a JPEG of `SHOWN_WIDTH` pixels at most."""
    small = sheet.convert("RGB")
    small.thumbnail((SHOWN_WIDTH, sheet.height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85, optimize=True)
    return buffer.getvalue()


def score_rows(report: Report) -> list[dict[str, str | int]]:
    """Return a table row for every candidate: its seed, scores, verdict and reasons."""
    return [
        {
            "frame": frame.number,
            "attempt": candidate.attempt + 1,
            "seed": candidate.seed,
            "image similarity": "reference" if frame.reference else show_score(candidate.scores.consistency),
            "prompt score": show_score(candidate.scores.prompt),
            "hero": _hero(candidate),
            "verdict": _verdict(candidate, kept=candidate.sha256 == frame.sha256),
            "why": "; ".join(candidate.reasons),
        }
        for frame in report.frames
        for candidate in frame.candidates
    ]


def _hero(candidate: CandidateReport) -> str:
    """Return how alike the hero is: to his calibrated pictures, else to frame 1's hero."""
    hero, likeness = candidate.scores.hero, candidate.scores.likeness
    if hero is None or not hero.found:
        return "not looked for" if hero is None else "not found"
    return "found" if likeness is None else show_score(likeness.crop if likeness.own is None else likeness.own)


def _verdict(candidate: CandidateReport, *, kept: bool) -> str:
    if candidate.accepted:
        return "accepted" if kept else "accepted, then replaced"
    return "weak, kept" if kept else "refused"


def report_markdown(report: Report, board: Path) -> str:
    """Return the report as a page: facts, frames, scenes and prompts, and time by stage."""
    parts = (_facts(report, board), _frame_table(report), _scenes(report), _stage_table(report))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _facts(report: Report, board: Path) -> Iterator[str]:
    yield f"# {escape(report.title)}"
    if story := _story_beyond_title(report):
        yield f"\n> {escape(story)}"
    yield f"\n- **Files:** {code(str(board.absolute()))}"
    pipeline = report.pipeline.replace("_", " ")
    yield f"- **Profile:** {escape(report.profile)}, {pipeline}, on {escape(report.device)} in {report.precision}"
    loras = report.render_config.loras if report.render_config else ()
    yield from (f"- **LoRA:** {escape(str(lora))}" for lora in loras)
    yield f"- **Writer:** {escape(report.writer)}"
    yield from (f"- **Warning:** {escape(warning)}" for warning in report.warnings)
    yield f"- **Base seed:** {report.base_seed}"
    average, least = show_score(report.average_consistency), show_score(report.min_consistency)
    yield f"- **Image similarity to frame 1:** {average} on average, {least} at least; threshold {report.threshold:.2f}"
    least = show_score(min(frame.prompt_score for frame in report.frames))
    yield f"- **Text–image similarity to the prompts:** {least} at least; threshold {report.prompt_threshold:.2f}"
    if report.weak_frames:
        numbers = ", ".join(map(str, report.weak_frames))
        yield (
            f"- **Weak frames:** {numbers}. Redo one with the flow redo-frame, or run again with more `attempts`, "
            "another `seed`, or a lower `threshold` or `prompt_threshold`."
        )


def _frame_table(report: Report) -> Iterator[str]:
    """Yield a table with only numbers and verdicts, because a dashboard cuts wide tables."""
    yield "## Frames\n"
    yield "| frame | verdict | image similarity | prompt score | seed | attempts |"
    yield "| ---: | --- | ---: | ---: | ---: | ---: |"
    for frame in report.frames:
        verdict = "accepted" if frame.accepted else "**weak**"
        similarity = "reference" if frame.reference else show_score(frame.consistency_score)
        scores = (similarity, show_score(frame.prompt_score), frame.seed, frame.attempts)
        yield f"| {frame.number} | {verdict} | {' | '.join(map(str, scores))} |"


def _scenes(report: Report) -> Iterator[str]:
    yield "## Scenes and prompts\n"
    for frame in report.frames:
        scene, panel = frame.scene, frame.scene.panel
        yield f"{frame.number}. **{escape(scene.caption)}** {escape(panel_facts(scene))}"
        for name, text in (("", panel_dialogue(scene)), ("sound", panel.sound), ("notes", panel.notes)):
            if text:
                yield f"   - {f'*{name}:* ' if name else ''}{escape(text)}"
        yield f"   - *prompt:* {escape(frame.prompt)}"


def _stage_table(report: Report) -> Iterator[str]:
    yield "## Time\n"
    yield "| stage | seconds |"
    yield "| --- | ---: |"
    yield from (f"| {stage} | {seconds:.1f} |" for stage, seconds in report.seconds.items())
    yield f"| **from start to finish** | **{(report.finished - report.started).total_seconds():.1f}** |"
