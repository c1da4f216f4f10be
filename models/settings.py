"""What a person may set: the storyboard's options, and the keys.

One record describes the options, and everything is made from it: the form in Prefect's dashboard, the command line,
`STORYBOARD_…` environment variables and the same names in `.env`. What is given explicitly wins over the environment,
the environment over `.env`, and that over the default.

Keys are read from the environment or `.env` where they are needed, and never become parameters.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, CliPositionalArg, SettingsConfigDict

from models.errors import InputError
from models.profiles import PROFILES, Precision, Profile, get_profile
from models.records import MAX_FRAMES, STORY_MAX_CHARACTERS, Story

PREFIX = "STORYBOARD_"
ENV_FILE = ".env"
Pipeline = Literal["reference_guided", "simplified"]
WriterName = Literal["openai", "offline"]


def _profile_exists(name: str) -> str:
    if name not in PROFILES:
        raise ValueError(f"valid profiles: {', '.join(PROFILES)}")
    return name


def _device_is_named(device: str | None) -> str | None:
    kind, _, index = (device or "cpu").partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise ValueError("valid devices: cpu, cuda, cuda:N, mps")
    return device


def _multiple_of_eight(size: int | None) -> int | None:
    if size is not None and size % 8:
        raise ValueError("the side of a picture must be a multiple of 8")
    return size


class StoryboardOptions(BaseModel):
    """Everything about a storyboard besides the story. `None` means: what the profile or the machine suggests."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    profile: Annotated[str, AfterValidator(_profile_exists)] = Field(
        "steppe", json_schema_extra={"enum": list(PROFILES)}
    )
    """Which base model paints: steppe (small, offline, also on a CPU) or sdxl (needs a GPU)."""
    seed: int = Field(42, ge=0, le=2**31)
    """Base seed of the noise. Frame 1 uses it as it is, frame n uses seed + n*1000, each retry adds 10."""
    frames: int = Field(6, ge=1, le=MAX_FRAMES)
    """How many frames the storyboard has."""
    pipeline: Pipeline = "reference_guided"
    """reference_guided: later frames see frame 1 through a ControlNet and must be alike. simplified: no ControlNet."""
    writer: WriterName | None = None
    """Who turns the story into scenes: openai (needs OPENAI_API_KEY) or offline. Unset: the profile's."""
    writer_model: str = Field("gpt-4o", min_length=1, max_length=100)
    """Model the openai writer asks for."""
    temperature: float = Field(0.0, ge=0.0, le=2.0)
    """Temperature of the language model. Has no effect on the pictures' noise."""
    lora_path: str | None = Field(None, max_length=1024)
    """Character LoRA: s3://bucket/prefix, a folder, a .safetensors file, or "none". Unset: the profile's own."""
    threshold: float | None = Field(None, ge=-1.0, le=1.0)
    """Least likeness (CLIP cosine) of a frame to frame 1. Unset: the profile's."""
    prompt_threshold: float | None = Field(None, ge=-1.0, le=1.0)
    """Least agreement (CLIP cosine) of a frame with its own prompt. Unset: the profile's."""
    attempts: int = Field(3, ge=1, le=10)
    """How many seeds a frame may try before its best is kept and marked as not accepted."""
    steps: int | None = Field(None, ge=1, le=500)
    """Denoising steps. Unset: the profile's."""
    guidance: float | None = Field(None, ge=0.0, le=30.0)
    """Guidance scale: how strongly the prompt pulls. Unset: the profile's."""
    size: Annotated[int | None, AfterValidator(_multiple_of_eight)] = Field(None, ge=64, le=2048)
    """Side of the square pictures in pixels, a multiple of 8. Unset: the profile's."""
    control_scale: float | None = Field(None, ge=0.0, le=2.0)
    """Strength of frame 1's edges on later frames. Unset: the profile's."""
    control_end: float | None = Field(None, ge=0.0, le=1.0)
    """Share of the steps in which those edges act. Unset: the profile's."""
    sketches: dict[int, str] = Field(default_factory=dict)
    """Frame number -> picture file whose lines replace frame 1's edges at full strength."""
    refresh: bool = False
    """Make everything anew instead of taking finished scenes and frames from the store."""
    output_dir: str = Field("outputs", min_length=1)
    """Where storyboards are written, and finished work is kept."""
    device: Annotated[str | None, AfterValidator(_device_is_named)] = None
    """cpu, cuda, cuda:N or mps. Unset: a GPU if there is one."""
    precision: Precision | None = None
    """fp32, fp16 or bf16. Unset: the profile's on a GPU, fp32 on a CPU."""
    batch_size: int | None = Field(None, ge=1, le=MAX_FRAMES)
    """How many waiting frames are painted at once. Unset: the profile's for this device."""

    def get_profile(self) -> Profile:
        """The profile these options name."""
        return get_profile(self.profile)

    def writer_name(self) -> WriterName:
        """The writer that will be asked."""
        return self.writer or self.get_profile().writer


class StoryboardCommand(StoryboardOptions, BaseSettings):
    """Turn a one-line tale of Aldar Köse into a storyboard."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        extra="ignore",
        cli_prog_name="python -m flows.storyboard",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_shortcuts={"temperature": "temp"},
    )

    story: CliPositionalArg[str] = Field(min_length=1, max_length=STORY_MAX_CHARACTERS)
    """The tale in one line, in any language, 1 to 2000 characters."""
    ref_guided: bool = False
    """Short for --pipeline reference_guided."""

    @model_validator(mode="after")
    def _pipeline_is_named_once(self) -> Self:
        if self.ref_guided and self.pipeline != "reference_guided":
            raise ValueError(f"--ref-guided contradicts --pipeline {self.pipeline}")
        return self

    def options(self) -> StoryboardOptions:
        """What was set, without the story; what was left out stays unset."""
        given = {name: getattr(self, name) for name in self.model_fields_set if name in StoryboardOptions.model_fields}
        return StoryboardOptions.model_validate(given)


class _EnvironmentOptions(StoryboardOptions, BaseSettings):
    """The options as the environment and `.env` set them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore")


class Keys(BaseSettings):
    """Keys and endpoints of outside services. Read where they are used; never parameters, never logged."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", frozen=True)

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    aws_access_key_id: SecretStr | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None
    aws_endpoint_url: str | None = None
    aws_region: str | None = None
    aws_default_region: str | None = None
    aws_profile: str | None = None


def read_story(text: str) -> Story:
    """The story as a record: one line, spaces tidied.

    Raises:
        InputError: it is empty or too long.
    """
    try:
        return Story(text=text)
    except ValidationError as error:
        raise InputError(f"story: {explain(error)}") from None


def with_environment(options: StoryboardOptions) -> StoryboardOptions:
    """The options, with everything not set explicitly taken from the environment and `.env`.

    Raises:
        InputError: the environment or `.env` holds an unknown name or a wrong value.
    """
    check_names()
    try:
        from_environment = _EnvironmentOptions().model_dump(exclude_unset=True)
        return StoryboardOptions.model_validate(from_environment | options.model_dump(exclude_unset=True))
    except ValidationError as error:
        raise InputError(f"environment or {ENV_FILE}: {explain(error)}") from None


def check_names(env_file: str | Path = ENV_FILE, environment: Mapping[str, str] | None = None) -> None:
    """Refuse unknown names in `.env`, and unknown `STORYBOARD_…` names in the environment.

    Raises:
        InputError: names them and the nearest valid ones.
    """
    options = [PREFIX + name.upper() for name in StoryboardOptions.model_fields]
    keys = [name.upper() for name in Keys.model_fields]
    in_file = [name for name in dotenv_values(env_file) if not name.upper().startswith("PREFECT_")]
    _refuse_unknown(str(env_file), in_file, [*keys, *options])
    names = os.environ if environment is None else environment
    _refuse_unknown("environment", [name for name in names if name.upper().startswith(PREFIX)], options)


def _refuse_unknown(where: str, names: Iterable[str], valid: list[str]) -> None:
    for name in names:
        if name.upper() not in valid:
            raise InputError(f"{where}: unknown name {name!r}{_suggest(name.upper(), valid)}")


def _suggest(name: str, valid: list[str]) -> str:
    near = difflib.get_close_matches(name, valid, n=1)
    return f"; did you mean {near[0]}?" if near else f"; valid names: {', '.join(valid)}"


def explain(error: ValidationError) -> str:
    """A validation error as one line: where, what is wrong, and the offending value."""
    return "; ".join(_explain_one(dict(item)) for item in error.errors())


def _explain_one(item: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "value"
    if item["type"] == "extra_forbidden":
        return f"unknown option {where!r}{_suggest(where, list(StoryboardOptions.model_fields))}"
    given = repr(item["input"])
    return f"{where}: {item['msg'].removeprefix('Value error, ')}, got {given[:80]}"
