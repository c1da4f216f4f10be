"""Plans redoing one frame of a finished board with the settings of the board's own run.

    Board + RedoOptions -> Redo -> FrameJob -> FrameResult -> the board with a new report

The settings come from the report, where all defaults of the profile and the machine are resolved; for a board of an
earlier version they come from its pictures' recipes. So the frame matches the others even if defaults have changed
since. The models must be identical to the board's.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from models.bases.schedules import Sampler
from models.board.directory import SCENES_FILE
from models.board.finished import AGAIN, Board, read_board
from models.board.integrity import find_recipe_faults
from models.board.report import FrameReport
from models.board.same_models import device_of, refuse_other_weights, same_models
from models.errors import InputError
from models.frames.generate import FrameJob, seed_of
from models.frames.recipe import Recipe, read_recipe
from models.frames.render_config import RenderConfig, RenderSettings, read_sketches
from models.language.prompts import MAX_TOKENS, refine, token_counter, words_of_shot
from models.profiles import Profile
from models.records import Candidate, FramePrompt, FrameResult, Options, Record, Scene, Sketch
from models.review.scene_changes import changed_scene
from models.settings import DEVICES, StoryboardOptions, painters_here

NO_SKETCH = "none"


class RedoOptions(Options):
    """Options of a redo. Without prompt, scene, seed and sketch the next unused seed is taken."""

    prompt: str | None = Field(None, min_length=1, max_length=2000)
    """The whole prompt, with the character's trigger word. Unset: the old prompt."""
    seed: int | None = Field(None, ge=0, le=2**32)
    """Seed of this frame, as in the report; each retry adds 10. Unset: with another prompt, scene or sketch the old
    seed, else the next unused one."""
    scene: tuple[str, ...] = Field((), max_length=20)
    """Changes of the frame's scene and panel, as in a review: "shot size: CU", "seconds: 4", "caption: He sleeps.".
    Dialogue, sound, notes, seconds and so on change words only, and paint nothing."""
    sketch: str | None = Field(None, min_length=1, max_length=1024)
    """Picture file whose lines guide the frame at full strength; "none" for frame 1's edges. Unset: as before."""
    attempts: int | None = Field(None, ge=1, le=10)
    """How many seeds may be tried before the best is kept. Unset: as for the board."""
    device: str | None = Field(None, pattern=DEVICES)
    """cpu, cuda, cuda:N or mps. Unset: the board's kind of device."""

    @field_validator("prompt", mode="before")
    @classmethod
    def _one_line(cls, value: object) -> object:
        return " ".join(value.split()) if isinstance(value, str) else value


class Redo(Record):
    """A planned redo, with all defaults resolved."""

    board: Board
    number: int
    words: str | None
    """The new prompt, or None for the old one."""
    scene: Scene
    """The frame's scene with all changes."""
    reseen: bool
    """Whether its prompt says something else than before."""
    paints: bool
    """Whether the frame is painted; False if only words are changed that no picture shows."""
    seed: int
    """Seed of the first attempt."""
    painting: StoryboardOptions
    """Options that lead to the board's models."""
    settings: RenderSettings
    """How the board's frames were painted."""
    sketch_sha256: str | None = None
    """Expected sha256 of the old sketch; None if a new one is given or it is unknown."""
    warnings: tuple[str, ...] = ()
    """Facts that the board does not record, each a sentence."""

    @property
    def frame(self) -> FrameReport:
        """The frame's entry in the board's report."""
        return self.board.report.frames[self.number - 1]


def plan_redo(folder: str | Path, number: int, wanted: RedoOptions) -> Redo:
    """Return the plan for redoing this frame.

    Raises:
        InputError: the board is unfinished or was changed, or has no such frame.
        StorageError: a file can't be read.
    """
    board = read_board(folder)
    count = board.report.num_frames
    if not 1 <= number <= count:
        raise InputError(f"frame {number}: the storyboard in {board.folder} has frames 1 to {count}")
    frame = board.report.frames[number - 1]
    recipe = read_recipe(Path(board.folder) / frame.file)
    painting = _painting(board, frame, recipe, wanted)
    scene = _scene(board, frame, wanted)
    reseen = _looks_different(scene, frame.scene, painting.get_profile())
    asked = (wanted.prompt, wanted.seed, wanted.sketch) != (None, None, None)
    settings = _settings(board, frame, recipe, number in painting.sketches)
    for fault in find_recipe_faults(frame, recipe, settings):
        raise InputError(f"{Path(board.folder) / frame.file}: {fault}; one of the two was changed by hand: {AGAIN}")
    return Redo(
        board=board,
        number=number,
        words=wanted.prompt,
        scene=scene,
        reseen=reseen,
        paints=reseen or asked or not wanted.scene,
        seed=_first_seed(frame, wanted, reseen),
        painting=painting,
        settings=settings,
        sketch_sha256=None if wanted.sketch else frame.sketch_sha256,
        warnings=_warnings(frame, painting, wanted),
    )


def _scene(board: Board, frame: FrameReport, wanted: RedoOptions) -> Scene:
    """Return the frame's scene with the changes, which must not meet ones that were made in the file by hand."""
    if not wanted.scene:
        return frame.scene
    if board.breakdown.scenes[frame.number - 1] != frame.scene:
        raise InputError(
            f"{Path(board.folder) / SCENES_FILE}: scene {frame.number} was edited there: make a board of the edited "
            f"scenes (--from {board.folder}), or undo the edit"
        )
    return changed_scene(board.breakdown, frame.number, wanted.scene)


def _looks_different(scene: Scene, old: Scene, profile: Profile) -> bool:
    """Return whether the scenes' prompts differ: a base may have the same words for two sizes of a shot."""
    return scene.in_view != old.in_view or words_of_shot(scene, profile) != words_of_shot(old, profile)


def _first_seed(frame: FrameReport, wanted: RedoOptions, reseen: bool) -> int:
    if wanted.seed is not None:
        return wanted.seed
    if reseen or wanted.prompt is not None or wanted.sketch is not None:
        return frame.seed
    lists = (frame.candidates, *(take.candidates for take in frame.takes))
    return max(candidate.seed for candidates in lists for candidate in candidates) + seed_of(0, 1, 1)


def _painting(board: Board, frame: FrameReport, recipe: Recipe, wanted: RedoOptions) -> StoryboardOptions:
    """Return options that lead to the board's models; the writer is set to offline, so that no key is needed."""
    report, given = board.report, board.report.options
    changes = {
        "writer": "offline",
        "frames": report.num_frames,
        "output_dir": str(Path(board.folder).parent),
        "aspect": None,
        **recipe.size._asdict(),
        "attempts": wanted.attempts or given.attempts,
        "sketches": _sketches(frame, recipe, given, wanted.sketch),
        "refresh": False,
        **painters_here(),
        "device": wanted.device or given.device or device_of(report),
        "precision": given.precision if wanted.device else report.precision,
    }
    return StoryboardOptions.model_validate(given.model_dump() | changes | same_models(report))


def _sketches(frame: FrameReport, recipe: Recipe, given: StoryboardOptions, wanted: str | None) -> dict[int, str]:
    """Return the frame's sketch: the requested one, none, or the old one."""
    led = recipe.control is not None and recipe.control.kind == "sketch"
    sketch = wanted or ((frame.sketch or given.sketches.get(frame.number)) if led else NO_SKETCH)
    if sketch is None:
        raise InputError(
            f"frame {frame.number} was painted from a sketch that its report does not name: name it with --sketch, "
            f"or use --sketch {NO_SKETCH}"
        )
    return {} if sketch == NO_SKETCH else {frame.number: sketch}


def _settings(board: Board, frame: FrameReport, recipe: Recipe, has_sketch: bool) -> RenderSettings:
    """Return the board's render settings, from its report, or for an older board from its pictures' recipes."""
    report, given = board.report, board.report.options
    if report.render_config is not None:
        return RenderSettings(**report.render_config.settings())
    recipes = (read_recipe(Path(board.folder) / other.file) for other in report.frames)
    edges = next((other.control for other in recipes if other.control and other.control.kind == "reference"), None)
    guided = report.pipeline == "reference_guided" and frame.number > 1 and not has_sketch
    scale = edges.scale if edges else given.control_scale
    end = edges.end if edges else given.control_end
    if guided and (scale is None or end is None):
        raise InputError(
            f"frame {frame.number}: the board is of an earlier version and none of its pictures records the strength "
            "of frame 1's edges; give the frame a sketch, or make the storyboard again"
        )
    return RenderSettings(
        pipeline=report.pipeline,
        size=recipe.size,
        original_scale=recipe.original_scale,
        steps=recipe.steps,
        sampler=_known_sampler(recipe),
        guidance=recipe.guidance,
        control_scale=scale or 0.0,
        control_end=end or 0.0,
        consistency_threshold=report.threshold,
        prompt_threshold=report.prompt_threshold,
    )


def _known_sampler(recipe: Recipe) -> Sampler:
    try:
        return TypeAdapter[Sampler](Sampler).validate_python(recipe.sampler)
    except ValidationError:
        raise InputError(
            f"frame {recipe.frame} was painted with the sampler {recipe.sampler!r}, which this version does not have"
        ) from None


def _warnings(frame: FrameReport, painting: StoryboardOptions, wanted: RedoOptions) -> tuple[str, ...]:
    """Return warnings about facts that boards of earlier versions do not record."""
    sketch = painting.sketches.get(frame.number)
    if sketch is None or wanted.sketch is not None or frame.sketch_sha256 is not None:
        return ()
    return (f"Frame {frame.number} uses {sketch} as it is now: the board does not record whether it has changed.",)


def prepare_frame(redo: Redo, render_config: RenderConfig) -> FrameJob:
    """Return the frame's job for this run.

    Raises:
        InputError: the models differ from the board's, or the prompt is too long.
        ObjectNotFound, StorageError: the sketch is missing or can't be read.
    """
    refuse_other_weights(redo.board.report.weights, render_config.weights)
    folder, number = Path(redo.board.folder), redo.number
    sketch = read_sketches(redo.painting).get(number)
    _refuse_other_sketch(redo, sketch)
    own = {**redo.settings.settings(), "base_seed": redo.seed - seed_of(0, number, 0)}
    return FrameJob(
        render_config=render_config.for_one().model_copy(update=own),
        prompt=_prompt(redo, render_config.profile),
        reference=None if number == 1 else _reference(redo.board),
        sketch=sketch,
        earlier=tuple(str(folder / before.file) for before in redo.board.report.frames[: number - 1]),
    )


def _refuse_other_sketch(redo: Redo, sketch: Sketch | None) -> None:
    """Refuse a sketch that changed since, because it would change the frame without notice."""
    if sketch is not None and redo.sketch_sha256 not in (None, sketch.sha256):
        raise InputError(
            f"frame {redo.number}: {sketch.file} changed since the frame was painted: restore it, or name it with "
            "--sketch to paint from it as it is now"
        )


def _prompt(redo: Redo, profile: Profile) -> FramePrompt:
    """Return the prompt that was given, else the old one, or the changed scene's if a change is painted."""
    old = redo.board.prompts[redo.number - 1].model_copy(update={"scene": redo.scene})
    if redo.words is None and not redo.reseen:
        return old
    count = token_counter(profile)
    if redo.words is None:
        return refine(redo.scene, redo.board.breakdown.cast, profile, count)
    tokens = count(redo.words)
    if tokens > MAX_TOKENS:
        raise InputError(f"prompt: at most {MAX_TOKENS} tokens, got {tokens}; shorten {redo.words!r}")
    return old.model_copy(update={"prompt": redo.words, "tokens": tokens, "cut": (), "by_hand": True})


def _reference(board: Board) -> FrameResult:
    """Return the board's frame 1."""
    frame, file = board.report.frames[0], str(Path(board.folder) / board.report.frames[0].file)
    kept = next(candidate for candidate in frame.candidates if candidate.sha256 == frame.sha256)
    return FrameResult(
        prompt=board.prompts[0],
        file=file,
        sha256=frame.sha256,
        seed=frame.seed,
        attempts=frame.attempts,
        accepted=frame.accepted,
        candidates=(Candidate(file=file, **dict(kept)),),
        painted=0,
    )
