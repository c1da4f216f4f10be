"""The steppe models: SDXL's own classes, small enough that all of them fit in 28 MB of fp16.

Parameters: VAE 2.5 M, UNet 6.2 M, text encoders 0.5 M and 0.7 M, ControlNet 1.4 M, CLIP 0.9 M, classifier 0.5 M.
"""

from __future__ import annotations

from typing import Any

from steppe.tokenizer import MAX_TOKENS

SIZE = 256
CLIP_SIZE = 128
TEXT_WIDTHS = (96, 128)
UNET_CHANNELS = (64, 96, 128)
HEAD_WIDTH = 16
SIZES = 6
"""Numbers of SDXL's micro-conditioning: original size, crop corner, picture's size, each height before width."""

_CROSS_ATTENTION = sum(TEXT_WIDTHS)
_ADDITION = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 32 * SIZES + TEXT_WIDTHS[1],
}
_BLOCKS = {
    "in_channels": 4,
    "block_out_channels": UNET_CHANNELS,
    "layers_per_block": 1,
    "cross_attention_dim": _CROSS_ATTENTION,
    "attention_head_dim": tuple(width // HEAD_WIDTH for width in UNET_CHANNELS),
    "use_linear_projection": True,
    "norm_num_groups": 16,
    **_ADDITION,
}


def build_vae() -> Any:
    """Return an `AutoencoderKL`, factor 8, 4 latent channels, for [N, 3, 256, 256] in -1..1."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(32, 64, 96, 112),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=SIZE,
        force_upcast=False,
    )


def build_unet() -> Any:
    """Return a `UNet2DConditionModel` for latents [N, 4, 32, 32], with SDXL's conditioning."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
        **_BLOCKS,
    )


def build_controlnet(unet: Any) -> Any:
    """Return a `ControlNetModel` for [N, 3, 256, 256] edges, initialised from the UNet's convolutions.

    It has no attention: edges need no text, and these parameters help more in the UNet.
    """
    from diffusers import ControlNetModel

    controlnet = ControlNetModel(
        conditioning_channels=3,
        conditioning_embedding_out_channels=(16, 32, 64, 96),
        down_block_types=("DownBlock2D",) * 3,
        mid_block_type="UNetMidBlock2D",
        **_BLOCKS,
    )
    own = controlnet.state_dict()
    shared = {
        name: value for name, value in unet.state_dict().items() if name in own and own[name].shape == value.shape
    }
    controlnet.load_state_dict(shared, strict=False)
    return controlnet


def build_text_encoders(tokenizer: Any) -> tuple[Any, Any]:
    """Return a `CLIPTextModel` and a `CLIPTextModelWithProjection`, together [N, 77, 224] and pooled [N, 128]."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def config(width: int) -> Any:
        return CLIPTextConfig(
            hidden_size=width,
            intermediate_size=3 * width,
            projection_dim=width,
            num_hidden_layers=4,
            num_attention_heads=width // 32,
            **_token_settings(tokenizer),
        )

    return CLIPTextModel(config(TEXT_WIDTHS[0])), CLIPTextModelWithProjection(config(TEXT_WIDTHS[1]))


def build_clip(tokenizer: Any) -> Any:
    """Return a `CLIPModel` for pictures [N, 3, 128, 128] and captions, with 96 dimensions."""
    from transformers import CLIPConfig, CLIPModel

    text = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4}
    vision = {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 5, "num_attention_heads": 6}
    return CLIPModel(
        CLIPConfig(
            text_config=text | _token_settings(tokenizer),
            vision_config=vision | {"image_size": CLIP_SIZE, "patch_size": 8},
            projection_dim=96,
        )
    )


def _token_settings(tokenizer: Any) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_TOKENS,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def build_scheduler() -> Any:
    """Return SDXL's scheduler (epsilon prediction, Euler steps) with more noise at the end of the schedule.

    On 32x32 latents, SDXL's last noise level (14.6 times the signal) still shows a picture's mean brightness, so that
    the noise instead of the prompt would decide on night. With beta_end 0.016 the last level is 31 times the signal.
    """
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.016,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        prediction_type="epsilon",
        timestep_spacing="trailing",
    )
