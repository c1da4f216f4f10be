"""Profiles: one typed record per base model, with everything that differs between them.

`sdxl` is for a GPU; `steppe` is this project's own small model and needs no network. The same code runs both, and
never branches on a profile's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from models.errors import InputError
from models.records import Record
from models.scores import Bounds
from models.sizes import GRAIN, LARGEST, SMALLEST, SQUARE, Shapes, Size
from models.sources import OWN_PROFILES, Component, locate, own_profiles_file
from models.turbo import SDXL_LIGHTNING, Turbo, turbo_in

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30

Precision = Literal["fp32", "fp16", "bf16"]
Speed = Literal["plain", "exact", "fast", "turbo"]


class Profile(Record):
    """Everything that differs between base models."""

    name: str
    base: Component
    controlnet: Component
    clip: Component
    vae: Component | None = None
    """A VAE that replaces the base's own."""
    dino: Component | None = None
    """DINOv2, which compares crops of the hero; None: CLIP does."""
    layout: str
    """Folder with configurations and tokenizers of this kind of base, used to read a single-file checkpoint."""
    adapter: str | None
    """Folder of the default character LoRA, or None if the profile ships none."""
    turbo: Turbo | None = None
    """The distillation LoRA of speed turbo; a report of an earlier version has none."""
    trigger: str
    """The LoRA's trigger word for the hero."""
    native_size: int = Field(ge=SMALLEST, le=LARGEST, multiple_of=GRAIN)
    """Side of the square pictures the base was trained on, in pixels."""
    shapes: Shapes = ()
    """The other shapes it was trained on; a report of an earlier version has none."""
    original_scale: float = Field(1.0, ge=0.25, le=16)
    """The original's size that the base is told, as a multiple of the picture's (SDXL's micro-conditioning). Over 1
    means a picture that was scaled down, and so is sharp."""
    steps: int
    guidance: float
    consistency_threshold: float
    """Least CLIP cosine of a frame and frame 1. Valid only for this profile's CLIP."""
    hero_bounds: Bounds = Bounds(least=0.70, most=0.97, most_around=0.97)
    """The same for his crop, and above which a frame is a copy, for characters without a calibration."""
    prompt_threshold: float
    """Least CLIP cosine of a frame and its own prompt."""
    control_scale: float
    """Strength of frame 1's Canny edges on the later frames."""
    control_end: float
    """Share of the steps in which these edges act."""
    style: str
    """Words that end every prompt."""
    negative_prompt: str
    writer: Literal["openai", "offline"]
    vocabulary: str | None
    """JSON file of the words the base knows, or None for no limit."""
    precision_on_gpu: Precision
    memory: int
    """Bytes of device memory for loading and painting."""
    low_memory: int
    """The same in low-memory mode: text encoders and CLIP stay in main memory."""
    batch_size_on_gpu: int
    batch_size_on_cpu: int

    @property
    def is_local(self) -> bool:
        """Whether all models are on this machine, so that no hub request is needed."""
        return all(component.is_local for component in (self.base, self.controlnet, self.clip, self.vae) if component)

    @property
    def sizes(self) -> dict[str, Size]:
        """All sizes that the base was trained on, by aspect; the square is the first."""
        return {SQUARE: Size.square(self.native_size), **{shape.aspect: shape.size for shape in self.shapes}}

    def size_of(self, aspect: str) -> Size:
        """Return the size of the pictures of this aspect.

        Raises:
            InputError: the profile has none; the message lists the aspects that it has.
        """
        try:
            return self.sizes[aspect]
        except KeyError:
            has = ", ".join(self.sizes)
            raise InputError(f"aspect {aspect}: profile {self.name} has {has}; or give width and height") from None

    def with_sources(self, named: Mapping[str, str | None]) -> Profile:
        """Return a copy with other models.

        Args:
            named: "base", "controlnet", "clip" or "vae" -> a hub repository, folder or file, or None for the profile's
                own.
        """
        changes = {part: self.replaced(part, *locate(source, Path.cwd())) for part, source in named.items() if source}
        return self.model_copy(update=changes) if changes else self

    def replaced(self, part: str, source: str, revision: str | None) -> Component:
        """Return that part's component for another source, without the old source's file patterns."""
        old: Component = getattr(self, part) or self.base.model_copy(update={"size": 0})
        local = Path(source).is_absolute()
        return Component(
            source=source,
            revision=revision,
            variant=old.variant,
            size=0 if local else old.size,
            pickled=part == "clip",
        )


SDXL = Profile(
    name="sdxl",
    base=Component(
        source="stabilityai/stable-diffusion-xl-base-1.0",
        revision="462165984030d82259a11f4367a4eed129e94a7b",
        variant="fp16",
        size=int(6.94e9),
        files=("*.json", "*.txt", "*.fp16.safetensors"),
    ),
    controlnet=Component(
        source="diffusers/controlnet-canny-sdxl-1.0",
        revision="eb115a19a10d14909256db740ed109532ab1483c",
        variant="fp16",
        size=int(2.5e9),
        files=("config.json", "*.fp16.safetensors"),
    ),
    clip=Component(
        source="openai/clip-vit-base-patch32",
        revision="3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        size=int(0.61e9),
        files=("*.json", "*.txt", "pytorch_model.bin"),
        pickled=True,
    ),
    layout=str(ROOT / "configs" / "sdxl"),
    adapter=None,
    turbo=SDXL_LIGHTNING,
    trigger="aldar_kose_man",
    native_size=1024,
    shapes={
        "16:9": "1344x768",
        "9:16": "768x1344",
        "4:3": "1152x896",
        "3:4": "896x1152",
        "3:2": "1216x832",
        "2:3": "832x1216",
        "2.39:1": "1536x640",
    },  # of the buckets in which SDXL was trained: https://arxiv.org/abs/2307.01952, the last appendix
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
    layout=str(_STEPPE),
    adapter=str(_STEPPE / "aldar"),
    turbo=turbo_in(_STEPPE),
    trigger="aldar_kose_man",
    native_size=256,
    shapes={"16:9": "336x192", "9:16": "192x336"},
    original_scale=4.0,  # as its character is trained: on pictures of 1024 pixels, scaled down
    steps=15,
    guidance=1.5,  # the hero's face breaks more often at 2 and above
    consistency_threshold=0.44,  # these two best separate Aldar from other people, and right prompts from wrong:
    prompt_threshold=0.04,  # python -m steppe.figures --only thresholds
    hero_bounds=Bounds(least=0.25, most=0.89, most_around=0.85),  # python -m steppe.same
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


def read_own(file: Path) -> dict[str, Profile]:
    """Read custom profiles. Each names a known profile to copy ("like") and its own differences.

        {"ink": {"like": "sdxl", "base": {"source": "/models/ink-sdxl", "size": 0}, "guidance": 6.5}}

    Raises:
        InputError: the file can't be read, or a profile in it is invalid; the message names it.
    """
    known = {profile.name: profile for profile in (STEPPE, SDXL)}
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(written, dict):
            raise ValueError("it holds no JSON object")
        own: dict[str, Profile] = {}
        for name, given in written.items():
            own[name] = _like({**known, **own}, name, given, file.absolute().parent)
    except (OSError, ValueError) as error:  # pydantic's errors are ValueErrors
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"{OWN_PROFILES}: {file}: {reason}") from None
    return own


def _like(known: dict[str, Profile], name: str, given: object, folder: Path) -> Profile:
    if not isinstance(given, dict) or given.get("like") not in known:
        raise ValueError(f'profile {name!r}: say which it is like, "like": one of {", ".join(known)}')
    if name in known:
        raise ValueError(f"profile {name!r} is there already; choose another name")
    changes, like = {key: value for key, value in given.items() if key != "like"}, known[given["like"]]
    for part in _PARTS:
        if isinstance(changes.get(part), dict):
            changes[part] = _changed(like, part, changes[part], folder)
    if "native_size" in changes:
        changes.setdefault("shapes", {})  # the known profile's are of another size
    return Profile.model_validate({**like.model_dump(), **changes, "name": name})


_PARTS = ("base", "controlnet", "clip", "vae", "dino")


def _changed(like: Profile, part: str, given: dict[str, object], folder: Path) -> dict[str, object]:
    """Return a component's fields with the given changes; a new source drops the old one's file patterns."""
    if not isinstance(given.get("source"), str):
        return {**(getattr(like, part) or like.base).model_dump(), **given}
    source, revision = locate(str(given["source"]), folder, Path.cwd())
    return {**like.replaced(part, source, revision).model_dump(), **given, "source": source}


def _all() -> tuple[dict[str, Profile], str]:
    """Return all profiles, and for messages why the custom ones could not be read."""
    builtin = {profile.name: profile for profile in (STEPPE, SDXL)}
    file = own_profiles_file()
    if not file:
        return builtin, ""
    try:
        return {**builtin, **read_own(Path(file).expanduser())}, ""
    except InputError as error:
        return builtin, f"; {error}"


PROFILES, _FAULT = _all()
"""All profiles by name, custom ones included."""


def valid_profiles() -> str:
    """Return the valid names for a message, and why custom profiles could not be read, if so."""
    return f"valid profiles: {', '.join(PROFILES)}{_FAULT}"


def get_profile(name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        InputError: unknown name; the message lists the valid ones.
    """
    try:
        return PROFILES[name]
    except KeyError:
        raise InputError(f"unknown profile {name!r}; {valid_profiles()}") from None
