"""Reads the header of a single-file checkpoint: the kind of model, and the settings that it shows.

Tensor names and shapes distinguish a base from a LoRA, a ControlNet and a VAE, and SDXL from its relatives. SDXL's
names are those of Stability AI's generative-models; the marks `v_pred`, `ztsnr` and `edm_…` are ComfyUI's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from models.bases.compatibility import INDEX, Configs
from models.errors import WeightsInvalid
from models.storage.files import check_file

UNET = "model.diffusion_model."
VAE = "first_stage_model."
FIRST_TEXTS = "conditioner.embedders.0.transformer."
SECOND_TEXTS = "conditioner.embedders.1.model."
PREFIXES = {"unet": UNET, "vae": VAE, "text_encoder": FIRST_TEXTS, "text_encoder_2": SECOND_TEXTS}
"""Part of a base -> prefix of its tensors' names."""

_KINDS = (
    ("a LoRA (use --lora-path)", ("lora_", "lora.", ".lora_A.", ".hada_w1", ".lokr_w1")),
    ("controlnet", ("controlnet_cond_embedding.", "input_hint_block.", "controlnet_down_blocks.")),
    ("Flux", ("double_blocks.",)),
    ("Stable Diffusion 3", ("joint_blocks.",)),
    ("SDXL's refiner, which paints no picture by itself", ("conditioner.embedders.0.model.",)),
    ("base", (f"{UNET}label_emb.",)),
    ("Stable Diffusion 1 or 2", ("cond_stage_model.",)),
    ("a UNet without SDXL's conditioning", (UNET,)),
    ("vae", (VAE, "encoder.down.", "encoder.down_blocks.", "decoder.up.")),
    ("a text encoder", ("text_model.", "transformer.resblocks.")),
)
_FIRST_LAYER = f"{UNET}input_blocks.0.0.weight"
_ADDED = f"{UNET}label_emb.0.0.weight"
_CROSS = "attn2.to_k.weight"
_EDM = ("edm_mean", "edm_std", "edm_vpred.sigma_max")
_SPOKEN_FOR = ("denoiser.", "model_ema.", "alphas", "betas", "sqrt_", "log_one", "posterior_", "logvar", "sigmas")
"""Prefixes of schedules and averages that older trainers save with the weights; loading does not need them."""
_MARKS = ("v_pred", "ztsnr", "scale_factor", "global_step", "epoch")


class Header(NamedTuple):
    """The header of a safetensors file."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def read_header(file: Path) -> Header:
    """Return the names and shapes of a file's tensors, and its metadata.

    Raises:
        WeightsInvalid: broken, or of another format.
        StorageError: missing or not readable.
    """
    from safetensors import SafetensorError, safe_open

    check_file(file)
    try:
        with safe_open(file, framework="numpy") as opened:
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
            return Header(shapes, opened.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsInvalid(f"{file}: not a safetensors file ({str(error)[:100]}); fetch it again") from error


def kind_of(header: Header) -> str | None:
    """Return the kind of model: "base", "controlnet", "vae", another kind in words, or None if unknown."""
    for kind, marks in _KINDS:
        if any(mark in name for name in header.shapes for mark in marks):
            return kind
    return None


def configs_of_base(file: Path, layout: Configs) -> Configs:
    """Return the layout's configurations, corrected by this file's header.

    Raises:
        WeightsInvalid: it is no base, or its size differs from the layout's.
    """
    header = read_header(file)
    kind = kind_of(header)
    if kind != "base":
        first = next(iter(header.shapes), "nothing")
        raise WeightsInvalid(
            f"base {file}: holds {kind or 'no known kind of model'} (first tensor {first}); name an SDXL checkpoint"
        )
    unet = {**layout["unet"], **_seen(header, list(layout["unet"]["block_out_channels"]))}
    for key in ("block_out_channels", "projection_class_embeddings_input_dim", "cross_attention_dim"):
        if unet[key] != layout["unet"][key]:
            raise WeightsInvalid(f"base {file}: {key} {unet[key]} in its UNet, SDXL's has {layout['unet'][key]}")
    scheduler = {**layout["scheduler"], **_schedule(file, header)}
    index = {**layout[INDEX]}
    for part, prefix in PREFIXES.items():
        if not any(name.startswith(prefix) for name in header.shapes):
            index[part] = [None, None]
    return {**layout, INDEX: index, "unet": unet, "scheduler": scheduler}


def _seen(header: Header, channels: list[int]) -> dict[str, Any]:
    """Return the UNet settings that the tensors' shapes show; `channels` are the layout's."""
    shapes = header.shapes
    seen: dict[str, Any] = {}
    if _FIRST_LAYER in shapes:
        first, seen["in_channels"] = shapes[_FIRST_LAYER][:2]
        seen["block_out_channels"] = [first, *channels[1:]]
    if _ADDED in shapes:
        seen["projection_class_embeddings_input_dim"] = shapes[_ADDED][1]
    crosses = [shape[1] for name, shape in shapes.items() if name.startswith(UNET) and name.endswith(_CROSS)]
    if crosses:
        seen["cross_attention_dim"] = crosses[0]
    return seen


def _schedule(file: Path, header: Header) -> dict[str, Any]:
    """Return the scheduler settings that the file's mark tensors and metadata show."""
    marks = [name for name in _EDM if name in header.shapes]
    if marks:
        raise WeightsInvalid(f"base {file}: {marks[0]} says that it is on EDM's schedule; use it as a diffusers folder")
    said = header.metadata.get("modelspec.prediction_type", "").lower()
    velocity = "v_pred" in header.shapes or said in ("v", "v_prediction")
    known: dict[str, Any] = {"prediction_type": "v_prediction"} if velocity else {}
    if "ztsnr" in header.shapes:  # zero terminal SNR: sampling must start at the last timestep, as only trailing does
        known |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return known


def left_over(header: Header) -> Iterator[str]:
    """Yield a base's tensors that belong to no part and are not known to be useless."""
    for name in header.shapes:
        if not name.startswith((*PREFIXES.values(), *_SPOKEN_FOR)) and name not in _MARKS:
            yield name
