"""Groups of a training's options, for its form and --help."""

from __future__ import annotations

from typing import Annotated

from models.forms.form import Form, Group
from models.lora.options import TrainingOptions

GROUPS = (
    Group(
        "what is trained",
        ("profile", "train_data_dir", "name", "publish_to", "max_train_steps", "learning_rate", "rank", "seed"),
    ),
    Group("the base model", ("base_model_name_or_path", "pretrained_model_name_or_path"), "base"),
    Group("the LoRA", ("alpha", "dropout", "target_modules", "lora_init_type"), "lora"),
    Group(
        "the training",
        (
            "num_train_epochs",
            "train_batch_size",
            "gradient_accumulation_steps",
            "lr_scheduler",
            "lr_restarts",
            "lr_power",
            "warmup_steps",
        ),
        "training",
    ),
    Group(
        "the pictures",
        (
            "caption_column",
            "caption_mode",
            "resolution",
            "center_crop",
            "aspect_buckets",
            "bucket_min_side",
            "bucket_max_side",
            "bucket_step",
            "random_flip",
            "trigger",
            "validation_pictures",
            "caption_dropout",
            "prior_data_dir",
            "prior_loss_weight",
        ),
        "pictures",
    ),
    Group(
        "the optimization",
        (
            "optimizer",
            "weight_decay",
            "max_grad_norm",
            "min_snr_gamma",
            "noise_offset",
            "ema_decay",
            "gradient_checkpointing",
            "enable_xformers_memory_efficient_attention",
        ),
        "optimization",
    ),
    Group(
        "the checkpoints",
        (
            "checkpointing_steps",
            "checkpoints_total_limit",
            "output_dir",
            "resume_from_checkpoint",
            "save_precision",
        ),
        "checkpoints",
    ),
    Group(
        "the choice of the best",
        ("validation_prompts", "unrelated_prompts", "validation_seeds", "publish_anyway", "replace"),
        "choice",
    ),
    Group("the machine", ("accelerate_config", "device", "speed"), "machine"),
)
"""All options in display order."""

FORM = Form(TrainingOptions, GROUPS)
TrainingForm = Annotated[TrainingOptions, FORM]
"""A flow's parameter: the options in groups, as forms send them, or without groups."""
