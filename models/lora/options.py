"""What a person may set about a training: one record, from which the form, the command line and the YAML are made.

The names are those of `configs/training_config.yaml`. Where that file says something twice, or in words that no library
has, this module translates it. What can't be honoured is refused in one line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from models.lora.buckets import bucket_sizes, usual_step
from models.profiles import PROFILES, Profile, get_profile, valid_profiles
from models.records import Options
from models.settings import DEVICES
from models.sizes import Size

LoraInit = Literal["gaussian", "kaiming"]
Schedule = Literal["cosine", "linear", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial"]
Optimizer = Literal["adamw", "adamw_fused", "adamw_8bit"]
CaptionMode = Literal["joined", "first", "alternatives"]
SavePrecision = Literal["fp32", "fp16", "bf16"]
MixedPrecision = Literal["no", "fp16", "bf16"]
Prompt = Annotated[str, Field(min_length=1, max_length=300)]

USUAL_WARMUP = 100
TEXT_TARGETS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out.0": "out_proj"}
"""A UNet's attention projections -> what CLIP's text encoders call them."""
UNET_TARGETS = (*TEXT_TARGETS, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2")
"""Layers of a UNet that may learn: attention, its projections, feed-forward layers, and the ResNets' convolutions."""


def _profile_exists(name: str | None) -> str | None:
    if name is not None and name not in PROFILES:
        raise ValueError(valid_profiles())
    return name


def _is_a_target(name: str) -> str:
    if name not in UNET_TARGETS:
        raise ValueError(f"valid target modules: {', '.join(UNET_TARGETS)}")
    return name


def _one_side(value: Any) -> Any:
    """`[1024, 1024]`, `1024,1024` and `1024x1024` as 1024: pictures are square, or of as many pixels."""
    if isinstance(value, str) and (sides := re.fullmatch(r"\s*(\d+)\s*[,x×]\s*(\d+)\s*", value, re.IGNORECASE)):
        value = [int(side) for side in sides.groups()]
    if isinstance(value, list | tuple):
        if len(value) != 2 or value[0] != value[1]:
            raise ValueError(
                "write one side or two equal ones: training pictures are square, or as large (aspect_buckets)"
            )
        return value[0]
    return value


RENAMED = {"held_out": "validation_pictures"}
"""Options' earlier names, which work for one release, and today's."""


class TrainingOptions(Options):
    """Everything about a training. `None` means: what the profile or the machine suggests."""

    profile: Annotated[str | None, AfterValidator(_profile_exists)] = Field(
        None, json_schema_extra={"enum": list(PROFILES)}
    )
    """Which base model learns: steppe (small, offline, also on a CPU) or sdxl (needs a GPU). Unset: the one whose base
    base_model_name_or_path names, else steppe."""
    base_model_name_or_path: str | None = Field(None, min_length=1, max_length=1024)
    """Hub repository or folder of the base; must be the profile's, and names the profile where that is unset. Unset:
    the profile's."""
    pretrained_model_name_or_path: str | None = Field(None, min_length=1, max_length=1024)
    """Another name of base_model_name_or_path. Unset: the same."""

    rank: int = Field(64, ge=1, le=1024)
    """Rank of the low-rank matrices."""
    alpha: float = Field(32, gt=0, le=4096)
    """Scaling: the LoRA acts at alpha / rank."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the LoRA's inputs that are zeroed in training."""
    target_modules: tuple[Annotated[str, AfterValidator(_is_a_target)], ...] = Field(("to_q", "to_v"), min_length=1)
    """Layers of the UNet that learn: to_q, to_k, to_v, to_out.0, proj_in, proj_out, ff.net.0.proj, ff.net.2, conv1,
    conv2. The text encoders' q_proj, v_proj… follow the attention projections, of which one must be named."""
    lora_init_type: LoraInit = "gaussian"
    """How the matrices start: gaussian or kaiming; either way the LoRA begins as nothing."""

    num_train_epochs: int | None = Field(1, ge=1)
    """Passes over the pictures, counted only where max_train_steps is unset."""
    max_train_steps: int | None = Field(1000, ge=1, le=1_000_000)
    """Updates of the weights; wins over num_train_epochs. Unset: what num_train_epochs comes to."""
    train_batch_size: int = Field(4, ge=1, le=256)
    """Pictures in one batch on each GPU."""
    gradient_accumulation_steps: int = Field(1, ge=1, le=1024)
    """Batches of which one update is made."""
    learning_rate: float = Field(1e-4, gt=0, le=1)
    """Peak learning rate."""
    lr_scheduler: Schedule = "cosine"
    """How the learning rate changes after the warm-up. constant and constant_with_warmup are one thing."""
    lr_restarts: int | None = Field(None, ge=1, le=1000)
    """How often cosine_with_restarts begins again at the peak. Unset: once."""
    lr_power: float | None = Field(None, gt=0, le=100)
    """Power of polynomial; 1 is linear. Unset: 2."""
    warmup_steps: int | None = Field(None, ge=0)
    """Updates in which the learning rate rises to its peak; fewer than all. Unset: a tenth of all, 100 at most."""
    seed: int = Field(42, ge=0, le=2**31)
    """Seed of the order, the noise, the dropout and the start."""

    train_data_dir: str = Field("data/images", min_length=1, max_length=1024)
    """Folder of pictures, each with a .txt or .caption beside it, or all in a metadata.jsonl or metadata.csv; kohya's
    folders such as 10_name are read with their repeats."""
    caption_column: str = Field("text", min_length=1, max_length=100)
    """Name of the caption in metadata.jsonl or metadata.csv."""
    caption_mode: CaptionMode = "joined"
    """What several lines of a caption are: joined to one, the first alone, or alternatives, of which each showing draws
    one."""
    resolution: Annotated[int | None, BeforeValidator(_one_side)] = Field(None, ge=64, le=2048, multiple_of=8)
    """Side of the square that pictures are scaled and cropped to, in pixels. Unset: the profile's."""
    center_crop: bool = True
    """Crop from the middle. Random crops are not offered: pictures are encoded once."""
    aspect_buckets: bool = False
    """Scale and crop each picture to the size (bucket) that is nearest to its own shape and has about as many pixels
    as the square of resolution, instead of to that square."""
    bucket_min_side: int | None = Field(None, ge=32, le=2048)
    """Shortest side of a bucket, in pixels. Unset: half the resolution."""
    bucket_max_side: int | None = Field(None, ge=64, le=8192)
    """Longest side of a bucket, in pixels. Unset: twice the resolution."""
    bucket_step: int | None = Field(None, ge=8, le=512, multiple_of=8)
    """Pixels of which a bucket's sides are multiples. Unset: a sixteenth of the resolution."""
    random_flip: bool = False
    """Show each picture also mirrored, at random."""
    trigger: str | None = Field(None, min_length=1, max_length=60, pattern=r"^\S+$")
    """The word that every caption must have, and the character is painted on. Unset: the profile's."""
    validation_pictures: int = Field(4, ge=0, le=64)
    """Pictures that are not trained on, but measured: the validation loss. At most a tenth of the set is taken."""
    caption_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of captions that are left empty."""
    prior_data_dir: str | None = Field(None, min_length=1, max_length=1024)
    """Pictures of the character's kind, captioned without the trigger word, that keep the base's idea of them
    (prior preservation). Unset: none."""
    prior_loss_weight: float = Field(1.0, ge=0, le=100)
    """Weight of their loss."""

    optimizer: Optimizer = "adamw"
    """adamw (fused on a GPU), adamw_fused (anywhere) or adamw_8bit (a quarter of the memory; needs bitsandbytes and a
    GPU)."""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """Weight decay of AdamW."""
    max_grad_norm: float = Field(1.0, gt=0, le=1000)
    """Gradients are clipped to this norm."""
    min_snr_gamma: float | None = Field(None, gt=0, le=100)
    """Weight timesteps by min-SNR with this gamma; 5 is usual. Unset: all alike."""
    noise_offset: float = Field(0.0, ge=0, le=1)
    """Strength of a random brightness added to the noise."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Keep a moving average of the LoRA with this decay, and save that. Unset: none."""
    gradient_checkpointing: bool = False
    """Compute activations twice to hold fewer of them: slower, in far less memory."""
    speed: Literal["plain", "exact"] = "exact"
    """exact: on a GPU as fast as it goes with the same result up to rounding. plain: the libraries' own code."""
    enable_xformers_memory_efficient_attention: bool = True
    """Accepted; PyTorch's own attention is used, which is as fast and needs no further package."""

    checkpointing_steps: int = Field(100, ge=1)
    """Updates between two checkpoints; the last update always makes one."""
    checkpoints_total_limit: int | None = Field(None, ge=1)
    """How many of the newest checkpoints stay. Unset: all."""
    output_dir: str = Field("outputs/checkpoints", min_length=1, max_length=1024)
    """Where checkpoints are written."""
    resume_from_checkpoint: str | None = Field(None, min_length=1, max_length=1024)
    """latest (the newest whole one, or a fresh start where there is none), or a name such as checkpoint-300. Unset:
    start fresh."""
    save_precision: SavePrecision = "fp16"
    """Precision of the saved LoRA; what a training goes on from is always whole."""

    validation_prompts: tuple[Prompt, ...] | None = Field(None, min_length=2, max_length=24)
    """Prompts with the trigger word that every checkpoint paints. Unset: the profile's."""
    unrelated_prompts: tuple[Prompt, ...] | None = Field(None, min_length=2, max_length=24)
    """Prompts without it, by which is measured what the base lost. Unset: the profile's."""
    validation_seeds: int = Field(2, ge=1, le=16)
    """How many seeds each of these prompts is painted with."""
    publish_to: str = Field("outputs/published", min_length=1, max_length=1024)
    """Where the best checkpoint is published: s3://bucket/prefix or a folder; the name is appended."""
    publish_anyway: bool = False
    """Publish the best checkpoint also where it fails the comparison; its card then says so."""
    replace: bool = False
    """Publish in the place of an earlier publication of the same name, which is then gone."""
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$")
    """What the published character is called. Unset: the trigger word."""

    accelerate_config: str | None = Field(None, min_length=1, max_length=1024)
    """File of accelerate's settings: precision, number of processes, GPUs. Unset: one process, fp16 on a GPU."""
    device: str | None = Field(None, pattern=DEVICES)
    """cpu, cuda, cuda:N or mps; of several processes each takes its own GPU. Unset: a GPU if there is one."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if not self.center_crop:
            raise ValueError("center_crop: false needs random crops, and pictures are encoded once; set it to true")
        if not self.text_targets():
            raise ValueError(f"target_modules: name one of {', '.join(TEXT_TARGETS)} too: text encoders have no others")
        if self.max_train_steps is None and self.num_train_epochs is None:
            raise ValueError("set max_train_steps or num_train_epochs")
        both = {self.base_model_name_or_path, self.pretrained_model_name_or_path} - {None}
        if len(both) > 1:
            raise ValueError("base_model_name_or_path and pretrained_model_name_or_path are one thing, and differ")
        for name, scheduler in (("lr_restarts", "cosine_with_restarts"), ("lr_power", "polynomial")):
            if getattr(self, name) is not None and self.lr_scheduler != scheduler:
                raise ValueError(f"{name} belongs to lr_scheduler {scheduler}, which is {self.lr_scheduler}")
        fault = None if self.max_train_steps is None else self.find_schedule_fault(self.max_train_steps)
        if fault:
            raise ValueError(fault)
        for name in ("bucket_min_side", "bucket_max_side", "bucket_step"):
            if getattr(self, name) is not None and not self.aspect_buckets:
                raise ValueError(f"{name} belongs to aspect_buckets, which is false")
        if not self.sizes():
            least, most, step = self._bucket_limits()
            area = f"{self.side()}x{self.side()}"
            raise ValueError(f"no bucket of about {area} pixels has sides of {least} to {most} in steps of {step}")
        return self

    def warmup(self, updates: int) -> int:
        """Updates of the warm-up, of so many in all."""
        return min(USUAL_WARMUP, updates // 10) if self.warmup_steps is None else self.warmup_steps

    def restarts(self) -> int:
        """How often the learning rate begins again at its peak."""
        return (self.lr_restarts or 1) if self.lr_scheduler == "cosine_with_restarts" else 0

    def find_schedule_fault(self, updates: int) -> str | None:
        """Why so many updates are too few for the schedule, or None."""
        warmup, restarts = self.warmup(updates), self.restarts()
        if warmup >= updates:
            return f"warmup_steps {warmup} is no less than the {updates} updates there are: lower it, or train longer"
        if restarts >= updates - warmup:
            left = updates - warmup
            return f"lr_restarts {restarts} is too many for {left} updates after the warm-up: lower it, or train longer"
        return None

    def get_profile(self) -> Profile:
        """The profile that these options name, or whose base they name.

        Raises:
            ValueError: they contradict each other, or the base is no profile's.
        """
        base = self.base_model_name_or_path or self.pretrained_model_name_or_path
        if base is None:
            return get_profile(self.profile or "steppe")
        sources = {profile.base.source: name for name, profile in PROFILES.items()}
        named = sources.get(base) or sources.get(str(Path(base).expanduser().absolute()))
        if named is None:
            raise ValueError(f"base_model_name_or_path: {base!r} is no profile's base; valid: {', '.join(sources)}")
        if self.profile not in (None, named):
            raise ValueError(
                f"base_model_name_or_path: {base!r} is the base of profile {named}, and profile is {self.profile}; "
                "leave one of the two out"
            )
        return get_profile(named)

    def side(self) -> int:
        """Side of the training pictures, in pixels."""
        return self.resolution or self.get_profile().native_size

    def sizes(self) -> tuple[Size, ...]:
        """Sizes that pictures are scaled and cropped to: the square of `resolution`, or the aspect buckets."""
        side = self.side()
        return bucket_sizes(side, *self._bucket_limits()) if self.aspect_buckets else (Size.square(side),)

    def _bucket_limits(self) -> tuple[int, int, int]:
        """Shortest side, longest side and step of the buckets, in pixels."""
        side = self.side()
        return self.bucket_min_side or side // 2, self.bucket_max_side or 2 * side, self.bucket_step or usual_step(side)

    def trigger_word(self) -> str:
        """The word that the character is painted on."""
        return self.trigger or self.get_profile().trigger

    def text_targets(self) -> list[str]:
        """`target_modules` by the names that the text encoders have for them."""
        return [TEXT_TARGETS[name] for name in self.target_modules if name in TEXT_TARGETS]

    def character(self) -> str:
        """What the published character is called."""
        return self.name or self.trigger_word()
