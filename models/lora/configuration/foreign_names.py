"""Settings of other trainers (kohya's sd-scripts and its GUI, diffusers' scripts): what each of their names is here."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

ALWAYS = "not needed: always done"
NOT_OFFERED = "not offered"

FOREIGN = {
    "network_dim": "rank",
    "network_alpha": "alpha",
    "network_dropout": "dropout",
    "network_module": "not needed: a LoRA is what is trained",
    "network_args": "target_modules",
    "network_weights": "resume_from_checkpoint, of a training of this project",
    "network_train_unet_only": "not offered: UNet and both text encoders learn",
    "network_train_text_encoder_only": "not offered: UNet and both text encoders learn",
    "train_text_encoder": ALWAYS,
    "LoRA_type": "not needed: a LoRA is what is trained",
    "unet_lr": "learning_rate, which is one for all",
    "text_encoder_lr": "learning_rate, which is one for all",
    "text_encoder_lr1": "learning_rate, which is one for all",
    "text_encoder_lr2": "learning_rate, which is one for all",
    "optimizer_type": "optimizer",
    "optimizer_args": "weight_decay",
    "use_8bit_adam": "optimizer: adamw_8bit",
    "adam_weight_decay": "weight_decay",
    "lr_warmup_steps": "warmup_steps",
    "lr_warmup": "warmup_steps",
    "max_train_epochs": "num_train_epochs, with max_train_steps: null",
    "epoch": "num_train_epochs, with max_train_steps: null",
    "save_every_n_steps": "checkpointing_steps",
    "save_every_n_epochs": "checkpointing_steps, in updates",
    "save_last_n_steps": "checkpoints_total_limit, in checkpoints",
    "save_last_n_epochs": "checkpoints_total_limit, in checkpoints",
    "save_model_as": "not needed: .safetensors in the forms of PEFT, diffusers and kohya",
    "output_name": "name",
    "logging_dir": "not needed: output_dir/logs",
    "report_to": "not needed: TensorBoard's files in output_dir/logs",
    "log_with": "not needed: TensorBoard's files in output_dir/logs",
    "instance_data_dir": "train_data_dir",
    "image_dir": "train_data_dir",
    "dataset_name": "train_data_dir, a folder",
    "instance_prompt": "trigger, a word that every caption has",
    "class_tokens": "the name of the pictures' folder, such as 10_hero",
    "num_repeats": "the number before the name of the pictures' folder, such as 10_hero",
    "reg_data_dir": "prior_data_dir",
    "class_data_dir": "prior_data_dir",
    "is_reg": "prior_data_dir",
    "with_prior_preservation": "prior_data_dir",
    "caption_extension": "not needed: .txt and .caption are read",
    "enable_wildcard": "caption_mode: alternatives",
    "caption_dropout_rate": "caption_dropout",
    "caption_tag_dropout_rate": NOT_OFFERED,
    "shuffle_caption": NOT_OFFERED,
    "keep_tokens": NOT_OFFERED,
    "max_token_length": "not offered: 77 tokens are read",
    "batch_size": "train_batch_size",
    "flip_aug": "random_flip",
    "color_aug": NOT_OFFERED,
    "random_crop": "not offered: center_crop",
    "enable_bucket": "aspect_buckets",
    "bucket_no_upscale": "not needed: a picture smaller than its bucket is refused",
    "bucket_reso_steps": "bucket_step",
    "min_bucket_reso": "bucket_min_side",
    "max_bucket_reso": "bucket_max_side",
    "cache_latents": ALWAYS,
    "cache_latents_to_disk": ALWAYS,
    "cache_text_encoder_outputs": "not offered: the text encoders learn",
    "xformers": "not needed: PyTorch's own attention",
    "sdpa": "not needed: PyTorch's own attention",
    "mem_eff_attn": "not needed: PyTorch's own attention",
    "full_fp16": "mixed_precision in the file of accelerate_config",
    "full_bf16": "mixed_precision in the file of accelerate_config",
    "clip_skip": "not offered: SDXL reads the last layer but one",
    "snr_gamma": "min_snr_gamma",
    "v_parameterization": "not needed: read from the base",
    "sample_prompts": "validation_prompts",
    "validation_prompt": "validation_prompts",
    "sample_every_n_steps": "not needed: every checkpoint paints",
    "sample_every_n_epochs": "not needed: every checkpoint paints",
    "num_validation_images": "validation_seeds",
    "resume": "resume_from_checkpoint",
    "pretrained_vae_model_name_or_path": NOT_OFFERED,
    "vae": NOT_OFFERED,
    "v2": "not offered: SDXL is what is trained",
    "no_half_vae": "not needed: the VAE runs in fp32",
    "lowram": "gradient_checkpointing",
    "max_data_loader_n_workers": ALWAYS,
    "persistent_data_loader_workers": ALWAYS,
}
"""Names that are not this project's -> the option that does it here, or why there is none."""


def foreign_option(option: str) -> str | None:
    """What an option of the command line, such as --network-dim or --network_dim=8, is here; None if it is unknown."""
    name = option.removeprefix("--").partition("=")[0]
    here = FOREIGN.get(name.replace("-", "_"))
    if here is None:
        return None
    first, separator, rest = here.partition(",")
    is_option = " " not in first and ":" not in first
    return f"--{first.replace('_', '-')}{separator}{rest}" if is_option else here


def names_in(values: Mapping[str, Any]) -> list[str]:
    """All names of a file, those inside sections and lists too, each once and in their order."""
    return list(dict.fromkeys(_names_in(values)))


def _names_in(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        inner = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]
        if not inner:
            yield name
        for one in inner:
            yield from _names_in(one)


def parse_toml(text: str) -> dict[str, Any] | None:
    """What the text says as TOML, or None where it is none."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff")) or None
    except (tomllib.TOMLDecodeError, RecursionError):
        return None


def translation(kind: str, values: Mapping[str, Any], options: tuple[str, ...], elsewhere: tuple[str, ...]) -> str:
    """That a file is another trainer's, and what each of its names is here, in one line.

    Args:
        kind: of the file, such as TOML.
        values: what it says.
        options: this project's names.
        elsewhere: names that belong in the file of accelerate_config.
    """
    names = names_in(values)
    own = [name for name in names if name in options]
    theirs = [name for name in names if name in FOREIGN]
    machine = [name for name in names if name in elsewhere]
    unknown = [name for name in names if name not in {*own, *theirs, *machine}]
    groups = {
        "": "; ".join(f"{name} is {FOREIGN[name]}" for name in theirs),
        "the same here: ": ", ".join(own),
        "in the file of accelerate_config: ": ", ".join(machine),
        "without a counterpart: ": ", ".join(unknown),
    }
    told = "; ".join(f"{title}{text}" for title, text in groups.items() if text)
    whose = f"{'another trainer' if kind == 'YAML' else 'kohya'}'s {kind}" if theirs else f"{kind}, and YAML is read"
    return f"this is {whose}: write a YAML file such as configs/training_config.yaml, with its names: {told}"
