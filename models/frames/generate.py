"""Makes one frame from its prompt: paint a candidate, score it, store it, judge it.

The store is the only memory between attempts. An attempt first judges the stored candidates, and paints the next seed
only if none of them passes. So a retry, a restart after a crash and a second run of the same story continue from the
stored candidates, and none is painted twice.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from PIL import Image

from models.diffusion.requests import ControlPicture, PaintRequest
from models.errors import FrameRejected
from models.frames.credentials import manifest_of
from models.frames.likeness import brought_up
from models.frames.recipe import Control, PaintedLora, Recipe, png_bytes
from models.frames.render_config import RenderConfig
from models.origin.signing import Signing, sign
from models.painters.choose import painter
from models.painters.painter import FrameOrder, OnPainted, Shown, Watch
from models.progress import GoOn, Progress
from models.records import Candidate, FramePrompt, FrameResult, Record, Sketch
from models.scores import Scores
from models.storage.content_store import PICTURES, Painted, Store, content_key
from models.vision.gate import best, judge

VERSION = 2
"""Raise it when the same inputs give another picture or other scores; stored candidates are then painted again."""


class FrameJob(Record):
    """All inputs of one frame."""

    render_config: RenderConfig
    prompt: FramePrompt
    reference: FrameResult | None
    """Frame 1, or None if this is frame 1."""
    sketch: Sketch | None = None
    earlier: tuple[str, ...] = ()
    """Pictures of earlier frames; a near copy of one of them is refused."""
    repaint: bool = False
    """Whether to delete the stored candidates first."""

    @property
    def number(self) -> int:
        """The frame's number."""
        return self.prompt.number


def seed_of(base_seed: int, number: int, attempt: int) -> int:
    """Return base + number·1000 + attempt·10; frame 1 skips its thousand, so that it starts at the base seed."""
    return base_seed + (number * 1000 if number > 1 else 0) + attempt * 10


def generate(
    job: FrameJob,
    on_progress: Progress | None = None,
    signing: Signing | None = None,
    go_on: GoOn | None = None,
    on_painted: OnPainted | None = None,
) -> FrameResult:
    """Return the frame once a candidate passes or no attempts are left; paints at most one candidate per call.

    Args:
        job: the frame.
        on_progress: called with the share of the painting done, 0..1.
        signing: what signs a painted picture; None: nothing does.
        go_on: called now and then while the frame waits to be painted; what it raises is raised here.
        on_painted: called with what it took, once a candidate is painted.

    Raises:
        FrameRejected: retryable; the new candidate did not pass, and attempts are left. Call again.
        PaintError, ScoreUnavailable, ModelError, StorageError: see `models.errors`.
    """
    store = Store(job.render_config.store)
    tried = list(_stored_candidates(job, store))
    if not any(each.candidate.accepted for each in tried) and len(tried) < job.render_config.attempts:
        tried.append(_paint_candidate(job, len(tried), Watch(on_progress, go_on), signing, on_painted))
    last = tried[-1].candidate
    if last.accepted or len(tried) == job.render_config.attempts:
        return _result(job, tried)
    raise FrameRejected(
        f"frame {job.number}, attempt {last.attempt + 1} of {job.render_config.attempts}, seed {last.seed}: "
        + "; ".join(last.reasons)
    )


def forget(job: FrameJob) -> None:
    """Delete the frame's stored candidates, so that all are painted again."""
    store = Store(job.render_config.store)
    for attempt in range(job.render_config.attempts):
        store.forget(PICTURES, candidate_key(job, attempt))


def near_copies(results: Sequence[FrameResult]) -> dict[int, tuple[str, ...]]:
    """Return the accepted frames that are near copies of an earlier one: number -> pictures of all earlier frames."""
    from models.vision.anomalies import find_copies

    found: dict[int, tuple[str, ...]] = {}
    for index, result in enumerate(results):
        earlier = tuple(before.file for before in results[:index])
        if result.accepted and find_copies(_open(result.file), [_open(file) for file in earlier]):
            found[result.number] = earlier
    return found


class _PaintedCandidate(NamedTuple):
    """A candidate and the run that painted it."""

    candidate: Candidate
    run: str


def _stored_candidates(job: FrameJob, store: Store) -> Iterator[_PaintedCandidate]:
    """Yield the frame's stored candidates by attempt, up to the first that passes or is missing."""
    for attempt in range(job.render_config.attempts):
        painted = store.get_picture(candidate_key(job, attempt))
        if painted is None:
            return
        each = _PaintedCandidate(_verdict(job, attempt, painted), painted.run)
        yield each
        if each.candidate.accepted:
            return


def _paint_candidate(
    job: FrameJob, attempt: int, watch: Watch, signing: Signing | None, on_painted: OnPainted | None
) -> _PaintedCandidate:
    config, reference = job.render_config, job.reference
    order = FrameOrder(
        setup=config.setup,
        request=_request(job, attempt),
        reference=None if reference is None else reference.file,
        reference_hero=None if reference is None else reference.scores.hero,
        calibration=config.calibration,
        weights=config.weights,
        encoder=config.encoder or None,
        urgent=config.queue == "interactive",
    )
    picture = painter(config.painters).paint(order, watch)
    if on_painted is not None:
        on_painted(picture.took)
    painted = store_candidate(job, attempt, picture.image, picture.scores, signing)
    return _PaintedCandidate(_verdict(job, attempt, painted), painted.run)


def store_candidate(
    job: FrameJob, attempt: int, image: Image.Image, scores: Scores, signing: Signing | None = None
) -> Painted:
    """Put a painted picture, with its recipe, and its scores into the store, where `generate` finds them."""
    request, run = _request(job, attempt), job.render_config.run
    recipe = _recipe(job, request)
    data = png_bytes(image, recipe)
    if signing is not None:
        data = sign(data, "image/png", manifest_of(recipe, request.control), signing)
    store = Store(job.render_config.store)
    return store.put_picture(candidate_key(job, attempt), data, seed=request.seed, scores=scores, run=run)


def _reference(job: FrameJob) -> Shown | None:
    """Return frame 1 and where the hero is in it; None for frame 1 itself."""
    return None if job.reference is None else Shown(_open(job.reference.file), job.reference.scores.hero)


def _verdict(job: FrameJob, attempt: int, painted: Painted) -> Candidate:
    """Judge a stored candidate by the thresholds, and compare it with the earlier frames."""
    from models.vision.anomalies import find_copies

    config, picture, reference = job.render_config, _open(painted.file), _reference(job)
    scores = brought_up(painted.scores, Shown(picture, painted.scores.hero), reference, config)
    if not scores.anomalies:
        copies = find_copies(picture, [_open(file) for file in job.earlier], scores.likeness, config.bounds)
        scores = scores.model_copy(update={"anomalies": copies})
    accepted, reasons = judge(scores, **config.thresholds)
    return Candidate(
        attempt=attempt,
        seed=painted.seed,
        file=painted.file,
        sha256=painted.sha256,
        scores=scores,
        accepted=accepted,
        reasons=reasons,
    )


def _result(job: FrameJob, tried: list[_PaintedCandidate]) -> FrameResult:
    candidates = tuple(each.candidate for each in tried)
    chosen = best(candidates)
    return FrameResult(
        prompt=job.prompt,
        file=chosen.file,
        sha256=chosen.sha256,
        seed=chosen.seed,
        attempts=len(candidates),
        accepted=chosen.accepted,
        candidates=candidates,
        painted=sum(each.run == job.render_config.run for each in tried),
        sketch=job.sketch,
    )


def candidate_key(job: FrameJob, attempt: int) -> str:
    """Return a candidate's key in the store: a hash of exactly the inputs that decide its pixels and scores."""
    render_config, request = job.render_config, _request(job, attempt)
    # A scale of 1 is left out, so that pictures stored before there was one are found; the trigger changes no pixel.
    left_out: Any = {"control": {"file"}, "trigger": True} | (
        {"original_scale": True} if request.original_scale == 1 else {}
    )
    return content_key(
        PICTURES,
        version=VERSION,
        request=request.model_dump(exclude=left_out),
        control=_control_sha256(job),
        reference=None if job.reference is None else job.reference.sha256,
        frame=job.number,
        profile=render_config.setup.profile.name,
        weights=render_config.weights,
        precision=render_config.setup.precision,
        device=render_config.setup.device.partition(":")[0],
        plain=render_config.setup.speed == "plain",
    )


def _request(job: FrameJob, attempt: int) -> PaintRequest:
    render_config = job.render_config
    return PaintRequest(
        prompt=job.prompt.prompt,
        negative_prompt=job.prompt.negative_prompt,
        seed=seed_of(render_config.base_seed, job.number, attempt),
        size=render_config.size,
        original_scale=render_config.original_scale,
        steps=render_config.steps,
        sampler=render_config.sampler,
        guidance=render_config.guidance,
        control=_control(job),
        trigger=render_config.setup.profile.trigger,
    )


def _control(job: FrameJob) -> ControlPicture | None:
    """Return the ControlNet's input: a sketch at full strength, else frame 1's edges at low strength, else None."""
    if job.render_config.pipeline == "simplified":
        return None
    if job.sketch is not None:
        return ControlPicture(file=job.sketch.file, scale=1.0, end=1.0, kind="sketch")
    if job.reference is None:
        return None
    scale, end = job.render_config.control_scale, job.render_config.control_end
    return ControlPicture(file=job.reference.file, scale=scale, end=end, kind="reference")


def _control_sha256(job: FrameJob) -> str | None:
    if _control(job) is None:
        return None
    return job.sketch.sha256 if job.sketch is not None else job.reference.sha256 if job.reference is not None else None


def _recipe(job: FrameJob, request: PaintRequest) -> Recipe:
    control = request.control
    return Recipe(
        **request.model_dump(exclude={"control", "trigger"}),
        profile=job.render_config.setup.profile.name,
        base=job.render_config.weights.base,
        adapter=job.render_config.weights.adapter,
        loras=tuple(
            PaintedLora(
                name=PurePath(lora.source.rpartition(":")[2]).stem,
                fingerprint=lora.fingerprint,
                strength=lora.strength,
                role=lora.role,
            )
            for lora in job.render_config.setup.adapters
        ),
        control=None if control is None else Control(**control.model_dump(exclude={"file"})),
        frame=job.number,
    )


def _open(file: str) -> Image.Image:
    return Image.open(io.BytesIO(Path(file).read_bytes()))
