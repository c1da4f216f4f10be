"""Plans a new board from a finished one's settings and its edited scenes.

    folder + options -> Edit -> prompts -> kept frames, and jobs for the others -> a new board

A panel is matched with the board's own by its number in the file, or by an equal prompt. Its picture is kept if nothing
that is painted changed: prompt and sketch. So a changed dialogue, and a panel that moved, paint nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.board.directory import SCENES_FILE
from models.board.finished import AGAIN, find_folder, read_painted
from models.board.report import FrameReport, Report
from models.board.same_models import device_of, refuse_other_weights, same_models
from models.edited.options import refuse_foreign
from models.edited.scenes import EditedScenes, read_edited
from models.errors import InputError
from models.export.archive import unpack_board
from models.frames.render_config import RenderConfig, RenderSettings
from models.records import FramePrompt, Record, SceneBreakdown
from models.settings import StoryboardOptions, painters_here
from models.storage.files import local_errors, sha256_of


class Edit(Record):
    """A planned board, with all settings of the old one resolved."""

    folder: str
    """Absolute path of the old board."""
    report: Report
    """Of the old board."""
    prompts: tuple[FramePrompt, ...]
    """Of the old board."""
    edited: EditedScenes
    options: StoryboardOptions
    """Of the new board, for its report."""
    settings: RenderSettings

    @property
    def painting(self) -> StoryboardOptions:
        """Options that lead to the old board's models; the writer is offline, so that no key is needed."""
        given, report = self.options, self.report
        changes = {
            "writer": "offline",
            "aspect": None,
            **self.settings.size._asdict(),
            "device": given.device or device_of(report),
            "precision": given.precision or (None if given.device else report.precision),
        }
        return StoryboardOptions.model_validate(given.model_dump() | changes | same_models(report))

    def like_the_board(self, render_config: RenderConfig) -> RenderConfig:
        """Return the config of the loaded models with the old board's settings.

        Raises:
            InputError: the models are not the board's.
        """
        refuse_other_weights(self.report.weights, render_config.weights)
        return render_config.model_copy(update=self.settings.settings())


def plan_edit(folder: str | Path, wanted: StoryboardOptions) -> Edit:
    """Return the plan for a new board from this one.

    Raises:
        InputError: the board is unfinished, of an earlier version or was changed, its scenes are invalid, or an option
            contradicts its settings.
        StorageError: a file can't be read.
    """
    refuse_foreign(wanted)
    given = wanted.model_dump(exclude_unset=True, exclude_none=True)
    place = find_folder(_unpacked(Path(folder), wanted))
    report, prompts = read_painted(place)
    if report.render_config is None:
        raise InputError(f"{place}: it is of an earlier version, whose report does not have its settings; {AGAIN}")
    edited = read_edited(place / SCENES_FILE, [frame.scene for frame in report.frames])
    changes = {
        "frames": len(edited.breakdown.scenes),
        "output_dir": str(place.parent),
        "review": "none",
        "refresh": False,
        "sketches": _sketches(report, edited.origins),
        **painters_here(),
        **given,
    }
    return Edit(
        folder=str(place),
        report=report,
        prompts=prompts,
        edited=edited,
        options=StoryboardOptions.model_validate(report.options.model_dump() | changes),
        settings=RenderSettings(**report.render_config.settings()),
    )


def _unpacked(board: Path, wanted: StoryboardOptions) -> Path:
    """Return a board's folder; of an exported ZIP the folder in output_dir that it is unpacked to, once."""
    board = board.expanduser()
    if board.suffix.lower() != ".zip" or board.is_dir():
        return board
    with local_errors(board):
        folder = Path(wanted.output_dir) / f"{board.stem}_{sha256_of(board)[:8]}"
    return folder if folder.is_dir() else unpack_board(board, folder)


def _sketches(report: Report, origins: Sequence[int | None]) -> dict[int, str]:
    """Return the sketches by their panels' new numbers."""
    given, frames = report.options.sketches, report.frames
    found: dict[int, str | None] = {
        frame.number: frame.sketch or (None if frame.takes else given.get(frame.number)) for frame in frames
    }
    return {
        number: sketch
        for number, origin in enumerate(origins, start=1)
        if origin is not None and (sketch := found[origin])
    }


def keep_words(edit: Edit, breakdown: SceneBreakdown, prompts: Sequence[FramePrompt]) -> list[FramePrompt]:
    """Return the new board's prompts, with the old words where nothing that is painted was edited.

    So a prompt that a person wrote stays, and so does one that this version would word otherwise.
    """
    descriptions = {member.name: member.description for member in breakdown.cast}

    def words(prompt: FramePrompt, origin: int | None) -> FramePrompt:
        old = self_of(origin)
        if old is None or old.scene.painted != prompt.scene.painted:
            return prompt
        if not old.by_hand and any(descriptions[name] not in old.prompt for name in prompt.scene.cast):
            return prompt
        return old.model_copy(update={"scene": prompt.scene})

    def self_of(origin: int | None) -> FramePrompt | None:
        return None if origin is None else edit.prompts[origin - 1]

    return [words(prompt, origin) for prompt, origin in zip(prompts, edit.edited.origins, strict=True)]


def match_frames(edit: Edit, prompts: Sequence[FramePrompt]) -> dict[int, int]:
    """Return the frames whose pictures may be kept: new number -> number on the old board."""
    if edit.options.refresh:
        return {}
    origins = dict(enumerate(edit.edited.origins, start=1))
    found: dict[int, int] = {}
    for prompt in prompts:
        origin = origins[prompt.number]
        if origin is not None and _same_words(prompt, edit.report.frames[origin - 1]):
            found[prompt.number] = origin
    free = [frame for frame in edit.report.frames if frame.number not in origins.values()]
    for prompt in prompts:
        same = [frame for frame in free if _same_words(prompt, frame)]
        if origins[prompt.number] is None and same:
            found[prompt.number] = same[0].number
            free.remove(same[0])
    return found


def _same_words(prompt: FramePrompt, frame: FrameReport) -> bool:
    return (prompt.prompt, prompt.negative_prompt) == (frame.prompt, frame.negative_prompt)
