"""Records passed between the stages. Each is frozen and holds its parent.

    Story -> SceneBreakdown -> FramePrompt -> FrameResult -> Report

Pictures stay on disk; a record carries a path and a sha256. Every record is small JSON.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.scores import Scores
from models.secrets.addresses import CREDENTIALS
from models.secrets.redaction import learn_address
from models.shots import Angle, Movement, ShotSize, read_framing

STORY_MAX_CHARACTERS = 2000
MAX_FRAMES = 24


class Record(BaseModel):
    """A frozen record that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Options(Record):
    """What a person sets for a run. Prefect stores it in clear, so no text in it may hold a password."""

    @field_validator("*", mode="after")
    @classmethod
    def _holds_no_password(cls, value: object) -> object:
        for text in _texts_in(value):
            if CREDENTIALS.search(text):
                learn_address(text)
                raise ValueError("holds a user or a password: leave it out, keys are read from the environment")
        return value


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | tuple | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(part)


class Story(Record):
    """The sentence a person gave."""

    text: str = Field(min_length=1, max_length=STORY_MAX_CHARACTERS)
    """The tale in one line, in any language."""

    @field_validator("text", mode="before")
    @classmethod
    def _one_line(cls, value: object) -> object:
        return " ".join(value.split()) if isinstance(value, str) else value


class CastMember(Record):
    """Somebody who appears besides the hero, described once and by the same words in every prompt."""

    name: str = Field(min_length=1, max_length=60)
    """How scenes refer to them: "the merchant"."""
    description: str = Field(min_length=1, max_length=160)
    """How prompts describe them, beginning with an article: "a merchant in a yellow robe and a turban"."""


class Speech(Record):
    """What one person says in a panel."""

    speaker: str = Field(min_length=1, max_length=60)
    text: str = Field(min_length=1, max_length=500)


class Panel(Record):
    """What a panel says besides its picture, in the words of the trade; the defaults where nothing is said."""

    shot_number: str | None = Field(None, pattern=r"^[1-9][0-9]{0,3}[A-Z]{0,2}$")
    """Stays when panels are inserted: 1, 2, 2A. None: the frame's number."""
    shot_size: ShotSize = "MS"
    angle: Angle = "eye level"
    movement: Movement = "static"
    dialogue: tuple[Speech, ...] = Field((), max_length=12)
    sound: str = Field("", max_length=300)
    """What is heard besides speech."""
    notes: str = Field("", max_length=1000)
    """For those who make the film; never painted."""
    seconds: float = Field(3.0, gt=0, le=600)
    """How long it is seen."""


class Scene(Record):
    """One frame's worth of story."""

    number: int = Field(ge=1, le=MAX_FRAMES)
    """1 is the reference frame."""
    caption: str = Field(min_length=1, max_length=300)
    """One sentence for the reader, printed under the frame."""
    action: str = Field(min_length=1, max_length=200)
    """What the hero does, without naming the hero: "is talking to the merchant". Others by their cast name."""
    cast: tuple[str, ...] = ()
    """Names of the cast members in this frame."""
    place: str = Field(min_length=1, max_length=80)
    """Where: "bazaar"."""
    time: str = Field(min_length=1, max_length=40)
    """Time of day: "at sunset"."""
    shot: str = Field(min_length=1, max_length=40)
    """Framing: "middle shot"."""
    things: tuple[str, ...] = ()
    """Animals and things to be seen, each with an article: "a camel"."""
    panel: Panel = Panel()
    """Without one, as in scenes of earlier versions, size and angle are those that `shot` says."""

    @property
    def in_view(self) -> tuple[Any, ...]:
        """What is to be seen, whatever the shot."""
        return self.action, self.cast, self.place, self.time, self.things

    @property
    def painted(self) -> tuple[Any, ...]:
        """What its prompt may show."""
        return (*self.in_view, self.shot, self.panel.shot_size, self.panel.angle)

    @model_validator(mode="before")
    @classmethod
    def _panel_says_what_the_shot_says(cls, given: object) -> object:
        if not isinstance(given, Mapping) or not isinstance(given.get("panel", {}), Mapping):
            return given
        return {**given, "panel": read_framing(str(given.get("shot", ""))).as_panel() | dict(given.get("panel", {}))}


class SceneBreakdown(Record):
    """The story as scenes, and who is in them."""

    story: Story
    writer: str
    """What wrote it: "offline/3" or "openai/gpt-5.5"."""
    title: str = Field(min_length=1, max_length=120)
    cast: tuple[CastMember, ...]
    scenes: tuple[Scene, ...] = Field(min_length=1, max_length=MAX_FRAMES)
    left_out: tuple[str, ...] = ()
    """Words of the story that the offline writer's scenes neither show nor tell of; other writers report none."""
    order: tuple[int, ...] = Field((), exclude_if=operator.not_)
    """Numbers of the scenes as they are seen in a film; one that is left out is not seen. Empty: as numbered."""

    @model_validator(mode="after")
    def _scenes_are_numbered_and_cast_is_known(self) -> Self:
        numbers = [scene.number for scene in self.scenes]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"scenes must be numbered 1 to {len(numbers)} in order, got {numbers}")
        known = {member.name for member in self.cast}
        if len(known) != len(self.cast):
            raise ValueError("two cast members have the same name")
        for scene in self.scenes:
            unknown = sorted(set(scene.cast) - known)
            if unknown:
                raise ValueError(f"scene {scene.number} names {unknown}, the cast is {sorted(known)}")
        if len(set(self.order)) != len(self.order) or not set(self.order) <= set(numbers):
            raise ValueError(f"order holds numbers of scenes, each once, got {list(self.order)}")
        return self

    @property
    def seen(self) -> tuple[Scene, ...]:
        """The scenes in the order of a film."""
        return tuple(self.scenes[number - 1] for number in self.order) or self.scenes


class FramePrompt(Record):
    """A scene as the words a pipeline paints from."""

    scene: Scene
    prompt: str = Field(min_length=1)
    negative_prompt: str
    tokens: int = Field(ge=1)
    """Length of the prompt in the profile's tokens, start and end included."""
    cut: tuple[str, ...] = ()
    """Parts left out because the encoder takes 77 tokens."""
    by_hand: bool = False
    """Whether a person wrote the prompt, in a review or a redo, instead of the scene's words."""

    @property
    def number(self) -> int:
        """The frame's number; 1 is the reference."""
        return self.scene.number


LoraRole = Literal["character or style", "turbo"]
"""turbo: a distillation LoRA, with which the base paints in a few steps."""


class Adapter(Record):
    """A LoRA on local disk."""

    path: str
    """Folder of three adapter folders, or a single safetensors file."""
    fingerprint: str
    """sha256 over names and contents of its files."""
    source: str
    """What the person named: s3://…, a folder, or "profile"."""
    strength: float = 1.0
    """How strongly it acts; 1 is as it was trained."""
    role: LoraRole = "character or style"


class LoraUse(Record):
    """How a LoRA changed the base."""

    source: str
    fingerprint: str
    strength: float
    modules: dict[str, tuple[int, int]]
    """Part of the base -> (changed modules, all modules)."""
    unused: tuple[str, ...] = ()
    """Triggers of unused embeddings in its file."""
    role: LoraRole = "character or style"

    def __str__(self) -> str:
        counts = ", ".join(f"{changed} of {there} in {part}" for part, (changed, there) in self.modules.items())
        unused = f"; embeddings not used: {', '.join(self.unused)}" if self.unused else ""
        role = "" if self.role == "character or style" else f" ({self.role})"
        return f"{self.source}{role}, strength {self.strength:g}: changed {counts}{unused}"


class Weights(Record):
    """Fingerprints (sha256) of all weights that determine the pictures and scores."""

    base: str
    controlnet: str | None
    """None for a pipeline without ControlNet."""
    clip: str
    adapter: str | None
    """Of the LoRAs and their strengths (`models.loras`); None without LoRAs."""

    def unlike(self, others: Weights) -> str:
        """Return the names of the fingerprints that differ, for a message; empty if none does."""
        return ", ".join(name for name, value in self if value != getattr(others, name))


class Sketch(Record):
    """A drawing that a person gave for one frame."""

    file: str
    """Absolute path."""
    sha256: str


class Candidate(Record):
    """One painted attempt at a frame, with its verdict."""

    attempt: int = Field(ge=0)
    seed: int = Field(ge=0)
    file: str
    """Path of its PNG in the store."""
    sha256: str
    scores: Scores
    accepted: bool
    reasons: tuple[str, ...] = ()
    """Why it was rejected: score and threshold, or the anomaly."""


class FrameResult(Record):
    """A finished frame: the accepted candidate, or the best rejected one."""

    prompt: FramePrompt
    file: str
    """Path of the chosen candidate's PNG in the store."""
    sha256: str
    seed: int
    attempts: int = Field(ge=1)
    accepted: bool
    candidates: tuple[Candidate, ...] = Field(min_length=1)
    painted: int = Field(ge=0)
    """How many candidates this run painted; 0 when all were taken from the store."""
    sketch: Sketch | None = None
    """The sketch that guided it, if any."""
    painted_as: int | None = None
    """The number it was painted as, if its panel has moved since."""

    @property
    def number(self) -> int:
        """The frame's number; 1 is the reference."""
        return self.prompt.number

    @property
    def chosen(self) -> Candidate:
        """The candidate whose picture this is."""
        return next(candidate for candidate in self.candidates if candidate.sha256 == self.sha256)

    @property
    def scores(self) -> Scores:
        """The chosen candidate's scores."""
        return self.chosen.scores
