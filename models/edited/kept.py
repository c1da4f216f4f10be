"""Frames of an old board that a new one keeps."""

from __future__ import annotations

import io
import logging
from pathlib import Path

from PIL import Image

from models.edited.plan import Edit
from models.errors import StorageError
from models.frames.likeness import likeness_of
from models.frames.render_config import RenderConfig
from models.painters.choose import painter
from models.painters.painter import Shown
from models.records import Candidate, FramePrompt, FrameResult, Sketch
from models.storage.content_store import Store
from models.storage.files import sha256_of
from models.vision.gate import judge

logger = logging.getLogger(__name__)


def keep_frame(
    edit: Edit, old: int, prompt: FramePrompt, reference: FrameResult | None, render_config: RenderConfig
) -> FrameResult | None:
    """Return the old frame with its new prompt's scene; None if its picture is gone or its sketch has changed.

    Its picture comes from the store or, if the store no longer has it, from the old board, if its sha256 is right.
    If frame 1 is another picture than on the old board, the frame is compared with it.

    Args:
        edit: the plan.
        old: the frame's number on the old board.
        prompt: the new prompt, with the same words.
        reference: the new frame 1; None if this is it.
        render_config: the new board's.
    """
    frame = edit.report.frames[old - 1]
    sketch = edit.options.sketches.get(prompt.number)
    if sketch is not None and frame.sketch_sha256 is not None and sha256_of(Path(sketch)) != frame.sketch_sha256:
        logger.warning(
            "frame %d: %s changed since the frame was painted, so it is painted again", prompt.number, sketch
        )
        return None
    store = Store(render_config.store)
    picture = _find_picture(Path(edit.folder) / frame.file, frame.sha256, store)
    if picture is None:
        return None
    candidates = tuple(Candidate(file=str(store.png_path(each.sha256)), **dict(each)) for each in frame.candidates)
    result = FrameResult(
        prompt=prompt,
        file=str(picture),
        sha256=frame.sha256,
        seed=frame.seed,
        attempts=frame.attempts,
        accepted=frame.accepted,
        candidates=tuple(
            each.model_copy(update={"file": str(picture)}) if each.sha256 == frame.sha256 else each
            for each in candidates
        ),
        painted=0,
        sketch=Sketch(file=frame.sketch, sha256=frame.sketch_sha256) if frame.sketch and frame.sketch_sha256 else None,
        painted_as=_other_than(prompt.number, frame.painted_as or old),
    )
    compared_with = edit.report.frames[0].sha256 if old > 1 else None
    if compared_with == (reference.sha256 if reference else None):
        return result
    return _judge_again(result, reference, render_config)


def _other_than(number: int, before: int) -> int | None:
    return None if before == number else before


def _find_picture(on_board: Path, sha256: str, store: Store) -> Path | None:
    places = (store.png_path(sha256), on_board)
    for place in places:
        try:
            if sha256_of(place) == sha256:
                return place
        except StorageError:
            continue
    logger.warning("%s is missing or was changed, and the store does not have it, so it is painted again", on_board)
    return None


def _judge_again(result: FrameResult, reference: FrameResult | None, render_config: RenderConfig) -> FrameResult:
    """Return the frame with a verdict on its chosen candidate beside another frame 1."""
    similarity, before = None, result.chosen.scores
    shown = Shown(_open(result.file), before.hero)
    other = None if reference is None else Shown(_open(reference.file), reference.scores.hero)
    if other is not None:
        similarity = painter(render_config.painters).similarity(render_config.setup, shown.image, other.image)
    scores = before.model_copy(update={"consistency": similarity, "likeness": likeness_of(shown, other, render_config)})
    accepted, reasons = judge(scores, **render_config.thresholds)
    verdict = {"scores": scores, "accepted": accepted, "reasons": reasons}
    candidates = tuple(
        each.model_copy(update=verdict) if each.sha256 == result.sha256 else each for each in result.candidates
    )
    return result.model_copy(update={"accepted": accepted, "candidates": candidates})


def _open(file: str) -> Image.Image:
    with Image.open(io.BytesIO(Path(file).read_bytes())) as image:
        return image.convert("RGB")
