"""Profiles: everything that differs between base models, in one typed record each.

`sdxl` is what people run on their GPU; `steppe` is this project's own small model, which needs no network. The
same code runs both, and nothing asks which one it is.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

from dotenv.parser import parse_stream

from models.errors import InputError
from models.records import Record

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30

Precision = Literal["fp32", "fp16", "bf16"]
Speed = Literal["plain", "exact", "fast"]


class Component(Record):
    """Where one model of a profile comes from."""

    source: str
    """A hub repository ("stabilityai/stable-diffusion-xl-base-1.0") or a local folder."""
    variant: str | None = None
    """Variant of the weight files ("fp16"), where the repository has several."""
    size: int
    """Bytes that a fresh download takes on disk; 0 for what ships with this project."""
    files: tuple[str, ...] = ()
    """Patterns of the files that are needed; empty means all."""
    pickled: bool = False
    """The repository's only PyTorch weights are a pickle (`pytorch_model.bin`), which is read with weights_only."""

    @property
    def is_local(self) -> bool:
        """Whether this is a folder on this machine (an absolute path) rather than a hub repository."""
        return Path(self.source).is_absolute()


class Profile(Record):
    """Everything that differs between base models."""

    name: str
    base: Component
    controlnet: Component
    clip: Component
    adapter: str | None
    """Source of the character LoRA used when none is named: a folder, or None if the profile ships none."""
    trigger: str
    """The word that the LoRA has learnt to paint the hero on."""
    native_size: int
    """Side of the square pictures the base was trained on, in pixels."""
    steps: int
    guidance: float
    consistency_threshold: float
    """Least CLIP cosine of a frame and frame 1. Belongs to this profile's CLIP model."""
    prompt_threshold: float
    """Least CLIP cosine of a frame and its own prompt."""
    control_scale: float
    """Strength of frame 1's Canny edges on the later frames."""
    control_end: float
    """Share of the steps in which they act."""
    style: str
    """Words that end every prompt."""
    negative_prompt: str
    writer: Literal["openai", "offline"]
    vocabulary: str | None
    """JSON file of the words the base knows, or None where it knows them all."""
    precision_on_gpu: Precision
    memory: int
    """Bytes of device memory that loading and painting takes."""
    low_memory: int
    """The same where the text encoders and CLIP stay in main memory."""
    batch_size_on_gpu: int
    batch_size_on_cpu: int

    @property
    def is_local(self) -> bool:
        """Whether all models lie on this machine, so that no hub needs to be asked for anything."""
        return all(component.is_local for component in (self.base, self.controlnet, self.clip))


SDXL = Profile(
    name="sdxl",
    base=Component(
        source="stabilityai/stable-diffusion-xl-base-1.0",
        variant="fp16",
        size=int(6.94e9),
        files=("*.json", "*.txt", "*.fp16.safetensors"),
    ),
    controlnet=Component(
        source="diffusers/controlnet-canny-sdxl-1.0",
        variant="fp16",
        size=int(2.5e9),
        files=("config.json", "*.fp16.safetensors"),
    ),
    clip=Component(
        source="openai/clip-vit-base-patch32",
        size=int(0.61e9),
        files=("*.json", "*.txt", "pytorch_model.bin"),
        pickled=True,
    ),
    adapter=None,
    trigger="aldar_kose_man",
    native_size=1024,
    steps=50,
    guidance=5.0,
    consistency_threshold=0.70,
    prompt_threshold=0.20,
    control_scale=0.35,
    control_end=0.4,
    style="storybook illustration, ink outlines, warm colours",
    negative_prompt="photo, blurry, deformed hands, extra limbs, text, watermark, frame, border",
    writer="openai",
    vocabulary=None,
    precision_on_gpu="fp16",
    memory=14 * GIB,
    low_memory=45 * GIB // 4,
    batch_size_on_gpu=5,
    batch_size_on_cpu=1,
)

_STEPPE = ROOT / "weights" / "steppe"

STEPPE = Profile(
    name="steppe",
    base=Component(source=str(_STEPPE), size=0),
    controlnet=Component(source=str(_STEPPE / "controlnet"), size=0),
    clip=Component(source=str(_STEPPE / "clip"), size=0),
    adapter=str(_STEPPE / "checkpoint-1000"),
    trigger="aldar_kose_man",
    native_size=256,
    steps=25,
    guidance=3.0,
    consistency_threshold=0.34,  # tells painted Aldar with himself from Aldar with others best, and so for the prompt:
    prompt_threshold=0.13,  # python -m steppe.figures --only thresholds
    control_scale=0.3,
    control_end=0.3,
    style="storybook illustration",
    negative_prompt="",
    writer="offline",
    vocabulary=str(_STEPPE / "vocabulary.json"),
    precision_on_gpu="fp32",
    memory=GIB // 2,
    low_memory=GIB // 2,
    batch_size_on_gpu=8,
    batch_size_on_cpu=1,
)

OWN_PROFILES = "STORYBOARD_PROFILES_FILE"
"""Variable of the environment or `.env` that names a JSON file of further profiles; `read_own` says its form."""


def read_own(file: Path) -> dict[str, Profile]:
    """Profiles that people wrote: each is like a known one, and names what differs.

        {"ink": {"like": "sdxl", "base": {"source": "/models/ink-sdxl", "size": 0}, "guidance": 6.5}}

    Raises:
        InputError: the file can't be read, or a profile in it is not one; the message names it.
    """
    known = {profile.name: profile for profile in (STEPPE, SDXL)}
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(written, dict):
            raise ValueError("it holds no JSON object")
        own: dict[str, Profile] = {}
        for name, given in written.items():
            own[name] = _like({**known, **own}, name, given)
    except (OSError, ValueError) as error:  # pydantic's errors are ValueErrors too
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{OWN_PROFILES}: {file}: {reason}") from None
    return own


def _like(known: dict[str, Profile], name: str, given: object) -> Profile:
    if not isinstance(given, dict) or given.get("like") not in known:
        raise ValueError(f'profile {name!r}: say which it is like, "like": one of {", ".join(known)}')
    if name in known:
        raise ValueError(f"profile {name!r} is there already; choose another name")
    changes = {key: value for key, value in given.items() if key != "like"}
    plain = known[given["like"]].model_dump()
    for key in ("base", "controlnet", "clip"):
        if isinstance(changes.get(key), dict):
            changes[key] = {**plain[key], **changes[key]}
    return Profile.model_validate({**plain, **changes, "name": name})


def _all() -> tuple[dict[str, Profile], str]:
    """Every profile, and why those of the file are missing, in words for a message."""
    builtin = {profile.name: profile for profile in (STEPPE, SDXL)}
    file = _own_file()
    if not file:
        return builtin, ""
    try:
        return {**builtin, **read_own(Path(file).expanduser())}, ""
    except InputError as error:
        return builtin, f"; {error}"


def _own_file() -> str | None:
    """The file of further profiles, from the environment or `.env`. What is wrong with `.env` is told elsewhere."""
    if OWN_PROFILES in os.environ:
        return os.environ[OWN_PROFILES]
    with suppress(OSError, UnicodeDecodeError), Path(".env").open(encoding="utf-8") as stream:
        return next((line.value for line in reversed(list(parse_stream(stream))) if line.key == OWN_PROFILES), None)
    return None


PROFILES, _FAULT = _all()
"""Profiles by name, the environment's own included."""


def valid_profiles() -> str:
    """The names there are, for a message; with it why the environment's own are missing, if they are."""
    return f"valid profiles: {', '.join(PROFILES)}{_FAULT}"


def get_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise InputError(f"unknown profile {name!r}; {valid_profiles()}") from None
