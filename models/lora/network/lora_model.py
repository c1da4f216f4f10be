"""The frozen base with a fresh LoRA on it: trainable weights, tokenizers and noise schedule.

LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685) on the attention projections of the UNet and of both text
encoders, by PEFT. Base and LoRA compute in the training's precision; the optimizer changes fp32 masters of the LoRA.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.bases.hub import name_of
from models.diffusion.adapter_keys import PARTS, PEFT_ROOT
from models.diffusion.loading import quicken, quieten, read_tokenizer, scheduler_of
from models.diffusion.parts import base_configs, read_part, tokenizer_folder
from models.diffusion.weights import check_device, torch_dtype
from models.errors import TrainingError
from models.lora.network.folding import fold
from models.lora.network.layers import merge_sums
from models.lora.network.master_weights import MasterWeights
from models.lora.options import MixedPrecision, TrainingOptions
from models.profiles import Precision

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("models.lora")

BASE_PRECISION: dict[MixedPrecision, Precision] = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}
"""accelerate's mixed precision -> precision that the frozen weights are kept in."""


@dataclass(frozen=True)
class LoraModel:
    """A base with a LoRA on it."""

    parts: dict[str, Any]
    """unet, text_encoder, text_encoder_2."""
    tokenizers: tuple[Any, Any]
    scheduler: Any
    """`diffusers.DDPMScheduler` of the base's own schedule."""
    masters: MasterWeights
    """The trainable weights, by "part.name"."""

    def adapters(self, dtype: torch.dtype) -> dict[str, dict[str, torch.Tensor]]:
        """A copy of the LoRA under the names that PEFT gives it in a file, by part, with alpha / rank multiplied in.

        Raises:
            TrainingError: a number is too large for `dtype`.
        """
        from peft import get_peft_model_state_dict

        def own(part: str) -> dict[str, torch.Tensor]:
            root = f"{part}."
            named = self.masters.named.items()
            return {name.removeprefix(root): weight.detach() for name, weight in named if name.startswith(root)}

        adapters: dict[str, dict[str, torch.Tensor]] = {}
        for part, module in self.parts.items():
            config = module.peft_config["default"]
            folded = fold(
                get_peft_model_state_dict(module, own(part), adapter_name="default"), config.lora_alpha, config.r
            )
            adapters[part] = {f"{PEFT_ROOT}{name}": value.to(dtype, copy=True) for name, value in folded.items()}
            if not all(bool(value.isfinite().all()) for value in adapters[part].values()):
                raise TrainingError(
                    f"save_precision: a weight of the LoRA is too large for {dtype}; set it to bf16 or fp32"
                )
        return adapters

    def configs(self) -> dict[str, Any]:
        """What belongs to `adapters` by part: `peft.LoraConfig` with alpha = rank."""
        configs = {part: copy.copy(module.peft_config["default"]) for part, module in self.parts.items()}
        for config in configs.values():
            config.lora_alpha = config.r
        return configs


def load_lora_model(options: TrainingOptions, device: str, precision: MixedPrecision) -> LoraModel:
    """Load the base and add a LoRA that changes nothing yet. Equal seeds give equal weights.

    Raises:
        InputError: unknown device.
        WeightsInvalid, ConnectionFailed, OutOfMemory: see `models.errors`.
    """
    import torch

    quieten()
    check_device(device)
    profile = options.get_profile()
    configs = base_configs(profile)
    scheduler = scheduler_of(configs.get("scheduler", {}), f"base {name_of(profile.base)}", "training")
    dtype = torch_dtype(BASE_PRECISION[precision])
    parts = {name: read_part(profile, name, dtype, device) for name in PARTS}
    torch.manual_seed(options.seed)
    quick = device.startswith("cuda") and options.speed != "plain"
    for name, module in parts.items():
        _add_adapter(module, options, list(options.target_modules) if name == "unet" else options.text_targets())
        if options.gradient_checkpointing:
            _checkpoint_gradients(module)
        elif name == "unet" and quick:
            quicken(module, device)
        if quick:
            merge_sums(module)
    longest = parts["text_encoder"].config.max_position_embeddings
    masters = MasterWeights(dict(_learning(parts)), dtype)
    lora_model = LoraModel(
        parts=parts,
        tokenizers=(
            read_tokenizer(tokenizer_folder(profile, "tokenizer"), longest),
            read_tokenizer(tokenizer_folder(profile, "tokenizer_2"), longest),
        ),
        scheduler=scheduler,
        masters=masters,
    )
    count = sum(weight.numel() for weight in masters.weights)
    logger.info("LoRA of rank %d: %.2f M weights learn", options.rank, count / 1e6)
    return lora_model


def _learning(parts: dict[str, Any]) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Names and trainable weights, in an order that is the same in every process."""
    for part, module in parts.items():
        for name, weight in module.named_parameters():
            if weight.requires_grad:
                yield f"{part}.{name}", weight


def _add_adapter(module: Any, options: TrainingOptions, targets: list[str]) -> None:
    import torch
    from peft import LoraConfig

    module.requires_grad_(False)
    module.add_adapter(
        LoraConfig(
            r=options.rank,
            lora_alpha=options.alpha,
            lora_dropout=options.dropout,
            init_lora_weights="gaussian" if options.lora_init_type == "gaussian" else True,
            target_modules=targets,
        )
    )
    for weight in module.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(torch.float32)
    module.train()


def _checkpoint_gradients(module: Any) -> None:
    # transformers' name, its older name, and diffusers' name for the same.
    for name in ("activation_checkpointing_enable", "gradient_checkpointing_enable", "enable_gradient_checkpointing"):
        if hasattr(module, name):
            getattr(module, name)()
            return
