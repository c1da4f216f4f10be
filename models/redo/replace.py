"""Puts a redone frame on its board: keeps the old picture as a take, and writes a new report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from PIL import Image

from models.board.directory import PROMPTS_FILE, REPORT_FILE, SCENES_FILE, place_frame, write_json
from models.board.finished import Board, changing, read_board
from models.board.integrity import take_name
from models.board.pages import write_sheet
from models.board.report import FrameReport, Report, Take, report_frame, show_score, with_frames
from models.errors import InputError
from models.frames.generate import FrameJob
from models.frames.likeness import likeness_of
from models.frames.render_config import RenderConfig
from models.painters.choose import painter
from models.painters.painter import Shown
from models.records import FramePrompt, FrameResult
from models.redo.plan import Redo
from models.scores import Hero, Scores
from models.storage.files import copy_atomically
from models.vision.gate import judge


def replace_frame(redo: Redo, job: FrameJob, result: FrameResult) -> Report:
    """Put the frame on the board, keep the old picture, update prompts and contact sheet, and return the new report.

    The board changes only at the end, and stays unchanged after an error.

    Raises:
        InputError: the picture is already on the board, or frame 1 was redone meanwhile.
        StorageError: the board can't be written.
    """
    with changing(Path(redo.board.folder)) as folder:
        board = read_board(folder)  # read again, because another redo may have changed it
        _refuse_futile(redo, board, job, result)
        take = _keep_take(board, result.number)
        place_frame(folder, result)
        report = _redone(board, job, result, take, redo.warnings)
        _write(folder, board, result.prompt, report)
    return report


def replace_words(redo: Redo) -> Report:
    """Change what the frame's panel says, keep its picture, and return the new report.

    Raises:
        StorageError: the board can't be written; it is unchanged.
    """
    with changing(Path(redo.board.folder)) as folder:
        board = read_board(folder)  # read again, because another redo may have changed it
        old, number = board.report.frames, redo.number
        frame = old[number - 1].model_copy(update={"scene": redo.scene})
        report = with_frames(board.report, (*old[: number - 1], frame, *old[number:]))
        _write(folder, board, board.prompts[number - 1].model_copy(update={"scene": redo.scene}), report)
    return report


def _write(folder: Path, board: Board, new: FramePrompt, report: Report) -> None:
    """Write prompts and scenes with those of one frame replaced, the contact sheet, and at last the report."""
    prompts = [new if prompt.number == new.number else prompt for prompt in board.prompts]
    scenes = tuple(new.scene if scene.number == new.number else scene for scene in board.breakdown.scenes)
    write_json(folder, PROMPTS_FILE, prompts)
    if new.scene != board.prompts[new.number - 1].scene:
        write_json(folder, SCENES_FILE, board.breakdown.model_copy(update={"scenes": scenes}))
    write_sheet(report, folder)
    write_json(folder, REPORT_FILE, report)


def _refuse_futile(redo: Redo, board: Board, job: FrameJob, result: FrameResult) -> None:
    if job.reference is not None and job.reference.sha256 != board.report.frames[0].sha256:
        raise InputError(f"frame {result.number}: frame 1 was redone meanwhile; redo frame {result.number} again")
    now = board.report.frames[result.number - 1].sha256
    if result.sha256 == now != redo.frame.sha256:
        raise InputError(
            f"frame {result.number}: another redo painted the same picture meanwhile, seed {result.seed}; "
            "redo it again to get the next seed"
        )
    if result.sha256 == now:
        raise InputError(
            f"frame {result.number}: seed {result.seed} gives the present picture again; "
            "choose another seed, prompt or sketch, or leave the seed out"
        )


def _keep_take(board: Board, number: int) -> Take:
    """Copy the frame's picture into the folder of takes, and return its entry."""
    folder, frame = Path(board.folder), board.report.frames[number - 1]
    name = take_name(frame, len(frame.takes) + 1)
    copy_atomically(folder / frame.file, folder / name)
    return Take(
        file=name,
        sha256=frame.sha256,
        prompt=frame.prompt,
        seed=frame.seed,
        accepted=frame.accepted,
        candidates=frame.candidates,
        replaced=datetime.now().astimezone(),
    )


def _redone(board: Board, job: FrameJob, result: FrameResult, take: Take, warnings: tuple[str, ...]) -> Report:
    """Return the report with the new frame, and with new verdicts on the later frames."""
    old, number = board.report.frames, result.number
    new = report_frame(result).model_copy(update={"takes": (*old[number - 1].takes, take)})
    later = tuple(_judge_again(frame, board, job, new.hero) for frame in old[number:])
    notes = [*warnings]
    if number == 1 and later:
        notes.append(
            f"Frame 1 was redone. Frames 2 to {len(old)} were painted from the earlier frame 1 ({take.file}) and are "
            "kept; only their image similarity was measured again."
        )
    return with_frames(board.report, (*old[: number - 1], new, *later), notes=notes)


def _judge_again(frame: FrameReport, board: Board, job: FrameJob, new_hero: Hero | None) -> FrameReport:
    """Return an unchanged frame with a new verdict, after an earlier frame's picture was replaced.

    Only its chosen candidate is measured again; the others are not on the board.
    """
    from models.vision.anomalies import find_copies, find_flaws

    folder, render_config = Path(board.folder), job.render_config
    image = _open(folder / frame.file)
    earlier = [_open(folder / before.file) for before in board.report.frames[: frame.number - 1]]
    similarity = frame.consistency_score if job.number > 1 else _image_similarity(image, earlier[0], render_config)
    hero, likeness = frame.hero, frame.likeness
    if job.number == 1:
        likeness = likeness_of(Shown(image, hero), Shown(earlier[0], new_hero), render_config)
    flaws = find_flaws(image, finite=True) or find_copies(image, earlier, likeness, render_config.bounds)
    scores = Scores(consistency=similarity, prompt=frame.prompt_score, anomalies=flaws, hero=hero, likeness=likeness)
    accepted, reasons = judge(scores, **render_config.thresholds)
    verdict = {"scores": scores, "accepted": accepted, "reasons": reasons}
    candidates = tuple(
        candidate.model_copy(update=verdict) if candidate.sha256 == frame.sha256 else candidate
        for candidate in frame.candidates
    )
    changes = {
        "consistency_score": similarity,
        "accepted": accepted,
        "anomalies": flaws,
        "candidates": candidates,
        "likeness": likeness,
    }
    return frame.model_copy(update=changes)


def _image_similarity(image: Image.Image, reference: Image.Image, render_config: RenderConfig) -> float:
    return painter(render_config.painters).similarity(render_config.setup, image, reference)


def redo_lines(report: Report, number: int) -> Iterator[str]:
    """Yield the redo's result for a terminal: the new frame, weak frames, and the note after redoing frame 1."""
    frame = report.frames[number - 1]
    take = frame.takes[-1]
    similarity = "reference" if frame.reference else f"image similarity {show_score(frame.consistency_score)}"
    yield (
        f"frame {number}: seed {take.seed} -> {frame.seed}, {'accepted' if frame.accepted else 'weak'}, {similarity}, "
        f"prompt {show_score(frame.prompt_score)}; the old picture is {take.file}"
    )
    if report.weak_frames:
        yield f"weak frames now: {', '.join(map(str, report.weak_frames))}"
    if number == 1:
        yield from report.notes[-1:]


def _open(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")
