"""The storyboard's options.

One record defines the options for the form in Prefect's dashboard, the command line, `STORYBOARD_…` environment
variables and the same names in `.env`. Precedence: explicit values, environment, `.env`, defaults. An empty variable
counts as not set. Keys are never options: see models/secrets/keys.py.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.env_names import is_nearly, names_in
from models.errors import InputError
from models.loras import STRONGEST
from models.option_types import AspectName, ExportForms, LoraTexts, Pixels, ProfileName, Sketches, SourceName
from models.profiles import Precision, Profile, Speed, get_profile
from models.records import MAX_FRAMES, Options, Story
from models.secrets.keys import ENV_FILE, Keys
from models.sources import OWN_PROFILES
from models.turbo import TurboMethod

PREFIX = "STORYBOARD_"
SHOWN_CHARACTERS = 80  # of a wrong value, in a message
RENAMED = {"OPENAI_API_BASE": "OPENAI_BASE_URL"}  # other programs' name -> ours; difflib would suggest a wrong one
SHAPE = ("aspect", "width", "height")
"""Options that together say one thing, the pictures' shape."""
EMBEDDED = "embedded"
PAINTERS = r"^(embedded|auto|(ray://)?[A-Za-z0-9_.\-\[\]:]+:[0-9]{1,5})$"
DEVICES = r"^(cpu|mps|cuda(:[0-9]+)?)$"
VALID = {
    DEVICES: "valid devices: cpu, cuda, cuda:N, mps",
    PAINTERS: "valid painters: embedded, auto, HOST:PORT, ray://HOST:PORT",
}
"""Pattern -> what a message says instead of it."""
Pipeline = Literal["reference_guided", "simplified"]
WriterName = Literal["openai", "offline"]
Queue = Literal["interactive", "batch"]
Reviewed = Literal["none", "scenes", "frames", "all"]


class StoryboardOptions(Options):
    """Everything about a storyboard besides the story. `None` means: what the profile or the machine suggests."""

    profile: ProfileName = "steppe"
    """Which base model paints: steppe (small, offline, also on a CPU) or sdxl (needs a GPU)."""
    seed: int = Field(42, ge=0, le=2**31)
    """Base seed of the noise. Frame 1 uses it as it is, frame n uses seed + n*1000, each retry adds 10."""
    frames: int = Field(6, ge=1, le=MAX_FRAMES)
    """How many frames the storyboard has."""
    pipeline: Pipeline = "reference_guided"
    """reference_guided: later frames see frame 1 through a ControlNet and must be alike. simplified: no ControlNet."""
    writer: WriterName | None = None
    """Who turns the story into scenes: openai (needs OPENAI_API_KEY) or offline. Unset: the profile's."""
    writer_model: str = Field("gpt-5.5", min_length=1, max_length=100)
    """Model the openai writer asks for."""
    temperature: float = Field(0.0, ge=0.0, le=2.0)
    """Temperature of the language model, where it takes one. Has no effect on the pictures' noise."""
    base: SourceName | None = None
    """SDXL base: hub repository (owner/name[@revision]), folder, or .safetensors checkpoint. Unset: the profile's."""
    controlnet: SourceName | None = None
    """Canny ControlNet for that base: hub repository, folder, or .safetensors file. Unset: the profile's."""
    vae: SourceName | None = None
    """VAE: hub repository, folder, or .safetensors file. Unset: the base's own."""
    clip: SourceName | None = None
    """CLIP that scores: hub repository or folder. Thresholds belong to a CLIP: set them too. Unset: the profile's."""
    lora_path: str | None = Field(None, min_length=1, max_length=1024)
    """Character LoRA: s3://bucket/prefix, a folder, a .safetensors file, or "none". Unset: the profile's own."""
    lora_scale: float = Field(1.0, ge=-STRONGEST, le=STRONGEST)
    """How strongly the character LoRA acts; 1 is as it was trained."""
    more_loras: LoraTexts = ()
    """LoRAs besides the character's, each a source as lora_path has it, or SOURCE=STRENGTH: style.safetensors=0.6."""
    threshold: float | None = Field(None, ge=-1.0, le=1.0)
    """Least similarity (cosine) of the hero, else of the whole frame, to frame 1. Unset: the LoRA's or profile's."""
    prompt_threshold: float | None = Field(None, ge=-1.0, le=1.0)
    """Least text–image similarity (CLIP cosine) of a frame and its own prompt. Unset: the profile's."""
    attempts: int = Field(3, ge=1, le=10)
    """How many seeds a frame may try before its best is kept and marked as not accepted."""
    steps: int | None = Field(None, ge=1, le=500)
    """Denoising steps; at speed turbo, those that its LoRA was made for. Unset: the profile's."""
    guidance: float | None = Field(None, ge=0.0, le=30.0)
    """Guidance scale: how strongly the prompt pulls. Unset: the profile's."""
    aspect: AspectName | None = None
    """Shape of the pictures, width to height, of those that the profile has. Unset: 1:1."""
    width: Pixels | None = None
    """Width of the pictures in pixels, a multiple of 8, in place of an aspect; needs a height. Unset: by the aspect."""
    height: Pixels | None = None
    """Height of the pictures in pixels, a multiple of 8; needs a width. Unset: by the aspect."""
    control_scale: float | None = Field(None, ge=0.0, le=2.0)
    """Strength of frame 1's edges on later frames. Unset: the profile's."""
    control_end: float | None = Field(None, ge=0.0, le=1.0)
    """Share of the steps in which those edges act. Unset: the profile's."""
    sketches: Sketches = Field({})
    """Frame number -> picture file whose lines replace frame 1's edges at full strength."""
    refresh: bool = False
    """Make everything anew instead of taking finished scenes and frames from the store."""
    review: Reviewed = "none"
    """What people approve or change in the dashboard before the run goes on: none, scenes, frames or all."""
    export: ExportForms = ()
    """What else is made of the finished storyboard, as by flows.export; several with commas, as in pdf,html."""
    output_dir: str = Field("outputs", min_length=1, max_length=1024)
    """Where storyboards are written, and finished work is kept."""
    device: str | None = Field(None, pattern=DEVICES)
    """cpu, cuda, cuda:N or mps. Unset: a GPU if there is one."""
    precision: Precision | None = None
    """fp32, fp16 or bf16. Unset: the profile's on a GPU, fp32 on a CPU."""
    batch_size: int | None = Field(None, ge=1, le=MAX_FRAMES)
    """How many waiting frames are painted at once. Unset: the profile's for this device."""
    low_memory: bool | None = None
    """On a GPU: keep there only what paints, for cards of 12 GB. Unset: where the card has too little for all."""
    speed: Speed = "exact"
    """exact (equal up to rounding), fast (like pictures), turbo (4 to 8 steps by a LoRA) or plain (libraries' code)."""
    turbo_lora: SourceName | None = None
    """Distillation LoRA: repository (owner/name[:file]), s3://…, folder, .safetensors file. Unset: the profile's."""
    turbo_method: TurboMethod | None = None
    """How that LoRA was distilled, which decides on sampler and steps. Unset: as the profile's."""
    painters: str = Field(EMBEDDED, pattern=PAINTERS, max_length=200)
    """embedded (this run paints), or a Ray cluster's warm painters: HOST:6379, ray://HOST:10001, auto for one here."""
    queue: Queue = "interactive"
    """At warm painters that several runs share: batch waits until no interactive run waits."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_size(cls, given: object) -> object:
        if not isinstance(given, Mapping) or "size" not in given:
            return given
        if given["size"] is not None:
            raise ValueError(in_place_of_size(given["size"], sign="="))
        return {name: value for name, value in given.items() if name != "size"}

    @model_validator(mode="after")
    def _have_one_shape(self) -> Self:
        if (self.width is None) != (self.height is None):
            one, other = ("width", "height") if self.height is None else ("height", "width")
            raise ValueError(f"{one} {getattr(self, one)} needs a {other}: give both, or an aspect")
        if self.aspect is not None and self.width is not None:
            raise ValueError(f"aspect {self.aspect} and {self.width}x{self.height} contradict each other: give one")
        return self

    def get_profile(self) -> Profile:
        """Return the named profile, with its models replaced by those that the options name."""
        return get_profile(self.profile).with_sources(self.model_dump(include={"base", "controlnet", "vae", "clip"}))

    def writer_name(self, profile: Profile) -> WriterName:
        """Return the writer to use: the option, else the profile's."""
        return self.writer or profile.writer


def in_place_of_size(side: object, called: Callable[[str], str] = str, sign: str = " ") -> str:
    """Return the message on the option `size` of earlier versions, with what to write instead of it.

    Args:
        side: the given value.
        called: maps an option to the name to show, such as "--size".
        sign: what stands between a name and its value.
    """
    instead = " ".join(f"{called(name)}{sign}{_short(str(side))}" for name in ("width", "height"))
    return f"{called('size')} is no option any more; write {instead}"


class _EnvironmentOptions(StoryboardOptions, BaseSettings):
    """The options set by the environment and `.env`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, env_ignore_empty=True, extra="ignore")


def read_story(text: str) -> Story:
    """Return the story as a record: one line, white space collapsed.

    Raises:
        InputError: it is empty or too long.
    """
    try:
        return Story(text=text)
    except ValidationError as error:
        raise InputError(explain(error, lambda _: "story")) from None


def with_environment(options: StoryboardOptions) -> StoryboardOptions:
    """Return the options, with unset ones taken from the environment and `.env`. Null counts as unset.

    Raises:
        InputError: the environment or `.env` holds an unknown name or a wrong value, or `.env` can't be read.
    """
    check_names()
    try:
        from_environment = _EnvironmentOptions().model_dump(exclude_unset=True)
    except ValidationError as error:
        raise InputError(explain(error, _variable)) from None
    return StoryboardOptions.model_validate(overridden(from_environment, options))


def painters_here() -> dict[str, Any]:
    """Return who paints by the environment and `.env`; a board that is made again may have other painters.

    Raises:
        InputError: see `with_environment`.
    """
    return with_environment(StoryboardOptions()).model_dump(include={"painters", "queue"})


def overridden(before: Mapping[str, Any], options: StoryboardOptions) -> dict[str, Any]:
    """Return option values overridden by the given options; a given shape replaces the other ways to give one."""
    given = options.model_dump(exclude_unset=True, exclude_none=True)
    replaced = SHAPE if any(name in given for name in SHAPE) else ()
    return {name: value for name, value in before.items() if name not in replaced} | given


def _in_environment(option: str) -> str:
    return PREFIX + option.upper()


def _variable(option: str) -> str:
    """Return the variable that sets this option, and where it was found."""
    name = _in_environment(option)
    in_environment = any(value and found.upper() == name for found, value in os.environ.items())
    return f"{name} in {'the environment' if in_environment else ENV_FILE}"


def check_names(env_file: str | Path = ENV_FILE, environment: Mapping[str, str] | None = None) -> None:
    """Refuse misspelt names in `.env` and unknown `STORYBOARD_…` names in the environment.

    Raises:
        InputError: names them and the nearest valid ones, or the line of `.env` that can't be read.
    """
    options = [OWN_PROFILES, *map(_in_environment, StoryboardOptions.model_fields)]
    keys = [name.upper() for name in Keys.model_fields]
    _refuse_misspelt(str(env_file), names_in(Path(env_file)), [*keys, *options])
    names = os.environ if environment is None else environment
    ours = [*options, *(name for name in keys if name.startswith(PREFIX))]
    _refuse_misspelt("environment", [name for name in names if name.upper().startswith(PREFIX)], ours)


def _refuse_misspelt(where: str, names: Iterable[str], valid: list[str]) -> None:
    for name in names:
        called = name.upper()
        if called == _in_environment("size"):
            raise InputError(f"{where}: {in_place_of_size('N', _in_environment, '=')}")
        if called in RENAMED:
            raise InputError(f"{where}: unknown name {name!r}; did you mean {RENAMED[called]}?")
        if called not in valid and (called.startswith(PREFIX) or is_nearly(called, valid)):
            raise InputError(f"{where}: unknown name {name!r}{suggest(called, valid)}")


def suggest(name: str, valid: list[str]) -> str:
    """Return the nearest valid name, or all of them, as the end of a message."""
    near = difflib.get_close_matches(name, valid, n=1)
    return f"; did you mean {near[0]}?" if near else f"; valid names: {', '.join(valid)}"


def explain(
    error: ValidationError,
    called: Callable[[str], str] = str,
    *,
    valid: Iterable[str] = StoryboardOptions.model_fields,
) -> str:
    """Return a validation error as one line: field, rule, offending value.

    Args:
        error: of any record.
        called: maps a field to the name to show, such as "--seed".
        valid: the record's fields, from which the nearest is suggested for an unknown one.
    """
    return "; ".join(_explain_one(dict(item), called, list(valid)) for item in error.errors())


def _explain_one(item: dict[str, Any], called: Callable[[str], str], valid: list[str]) -> str:
    if item["type"] == "value_error" and not item["loc"]:  # a rule on the whole record; its message names the fields
        return str(item["msg"]).removeprefix("Value error, ")
    names = [str(part) for part in item["loc"] if part != "[key]"] or ["value"]
    where = ".".join([called(names[0]), *names[1:]])
    if item["type"] == "extra_forbidden":
        return f"unknown option {where!r}{suggest(where, valid)}"
    if item["type"] == "string_pattern_mismatch":
        item["msg"] = VALID.get(item["ctx"]["pattern"], item["msg"])
    return f"{where}: {item['msg'].removeprefix('Value error, ')}, got {_short(repr(item['input']))}"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
