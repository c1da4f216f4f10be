"""Sizes of the models in the GPU benchmarks: SDXL's own, and small ones of the same structure for a rehearsal.

The full sizes are those of the published configurations; omitted values are the defaults of the library's class.
Sources: stabilityai/stable-diffusion-xl-base-1.0, diffusers/controlnet-canny-sdxl-1.0, openai/clip-vit-base-patch32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]
NAME, PROFILES_FILE = "full-size", "profiles.json"
"""The profile of the models of `benchmarks.full_size`, and the file that has it."""


@dataclass(frozen=True)
class Architecture:
    """The configurations of all models of one size."""

    side: int
    """Side of the pictures, in pixels."""
    unet: Config
    controlnet: Config
    vae: Config
    text_encoder: Config
    text_encoder_2: Config
    clip_text: Config
    clip_vision: Config
    projection: int
    """Width of CLIP's features."""
    parameters: dict[str, int]
    """Part -> number of parameters of the published model; empty without one."""


_DOWN = ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
_UP = ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]
_CODER = {
    "latent_channels": 4,
    "scaling_factor": 0.13025,
    "force_upcast": True,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
"""Of `EulerDiscreteScheduler`."""

_BLOCKS = {
    "block_out_channels": [320, 640, 1280],
    "layers_per_block": 2,
    "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10],
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
    "down_block_types": _DOWN,
}

FULL = Architecture(
    side=1024,
    unet={**_BLOCKS, "sample_size": 128, "up_block_types": _UP},
    controlnet={**_BLOCKS, "conditioning_embedding_out_channels": [16, 32, 96, 256]},
    vae={**_CODER, "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "sample_size": 1024},
    text_encoder={
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
        "hidden_act": "quick_gelu",
        "vocab_size": 49408,
    },
    text_encoder_2={
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": 1280,
        "hidden_act": "gelu",
        "vocab_size": 49408,
    },
    clip_text={
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "vocab_size": 49408,
    },
    clip_vision={
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 32,
    },
    projection=512,
    parameters={
        "unet": 2_567_463_684,
        "controlnet": 1_251_014_160,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "text_encoder_2": 694_659_840,
    },
)

_SMALL_BLOCKS = {
    **_BLOCKS,
    "block_out_channels": [8, 16, 16],
    "layers_per_block": 1,
    "attention_head_dim": [1, 2, 2],
    "transformer_layers_per_block": [1, 1, 2],
    "cross_attention_dim": 48,
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 4 * 6 + 32,
    "norm_num_groups": 4,
}
_SMALL_LAYERS = {"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
_SMALL_TEXT = {**_SMALL_LAYERS, "vocab_size": 1003}

SMALL = Architecture(
    side=64,
    unet={**_SMALL_BLOCKS, "sample_size": 8, "up_block_types": _UP},
    controlnet={**_SMALL_BLOCKS, "conditioning_embedding_out_channels": [4, 4, 8, 8]},
    vae={
        **_CODER,
        "block_out_channels": [4, 4, 8, 8],
        "layers_per_block": 1,
        "sample_size": 64,
        "norm_num_groups": 4,
    },
    text_encoder={**_SMALL_TEXT, "hidden_size": 16, "projection_dim": 16, "hidden_act": "quick_gelu"},
    text_encoder_2={**_SMALL_TEXT, "hidden_size": 32, "projection_dim": 32, "hidden_act": "gelu"},
    clip_text={**_SMALL_TEXT, "hidden_size": 16},
    clip_vision={**_SMALL_LAYERS, "hidden_size": 16, "image_size": 32, "patch_size": 8},
    projection=12,
    parameters={},
)
