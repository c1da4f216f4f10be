"""Run by test_fused.py: kernels and fused models beside PyTorch's and diffusers' own code; prints how they differ."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import tiny_models
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from peft import LoraConfig
from torch import Tensor, nn
from torch.nn import functional

from models.diffusion import attention, differentiable, fused, loading, painter
from models.diffusion.requests import PaintRequest
from models.errors import OutOfMemory
from models.lora.network.layers import merge_sums
from models.profiles import ROOT, STEPPE

WEIGHTS = ROOT / "weights" / "steppe"
HEIGHT, WIDTH = 3, 5
"""Of latents, in cells. Halved twice they are odd, as those of a picture of 336x192."""
FOUND: dict[str, float] = {}


def apart(ours: Tensor, theirs: Tensor) -> float:
    """Relative difference of two tensors."""
    return float((ours - theirs).detach().norm() / theirs.detach().norm())


def compare(name: str, ours: Callable[..., Any], theirs: Callable[..., Any], *given: Tensor) -> None:
    """Outputs, and gradients to all that is given, of two functions."""
    outputs, gradients = [], []
    for run in (ours, theirs):
        own = [tensor.clone().requires_grad_() for tensor in given]
        output = run(*own)
        output = output if isinstance(output, tuple) else (output,)
        generator = torch.Generator().manual_seed(3)
        weighed = [(part * torch.randn(part.shape, generator=generator)).sum() for part in output]
        gradients.append(torch.autograd.grad(torch.stack(weighed).sum(), own))
        outputs.append(output)
    FOUND[name] = max(apart(*pair) for pair in zip(*outputs, strict=True))
    FOUND[f"gradient of {name}"] = max(apart(*pair) for pair in zip(*gradients, strict=True))


def drawn(norm: Any) -> Any:
    """A norm with weights of its own, frozen."""
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    return norm.requires_grad_(False)


def compare_kernels() -> None:
    rows, groups, bias = drawn(nn.LayerNorm(48)), drawn(nn.GroupNorm(8, 48)), torch.randn(48)
    tokens, pictures, odd = torch.randn(3, 5, 48), torch.randn(2, 48, 9, 11), torch.randn(2, 48, 5, 6)
    kernels = differentiable

    def gated(x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return value * functional.gelu(gate)

    compare("geglu", kernels.geglu, gated, torch.randn(3, 5, 96))
    compare("layer_norm", lambda x: kernels.layer_norm(x, rows), rows, tokens)
    compare(
        "add_layer_norm",
        lambda x, y: kernels.add_layer_norm(x, y, rows),
        lambda x, y: (x + y, rows(x + y)),
        tokens,
        torch.randn(3, 5, 48),
    )
    compare("group_norm", lambda x: kernels.group_norm(x, groups), groups, pictures)
    compare(
        "group_norm of 30 pixels by 48 channels, shifted by picture, silu",
        lambda x, y: kernels.group_norm(x, groups, silu=True, shift=y),
        lambda x, y: functional.silu(groups(x + y[:, :, None, None])),
        odd,
        torch.randn(2, 48),
    )
    compare(
        "group_norm shifted by channel, far from zero",
        lambda x, y: kernels.group_norm(x, groups, shift=y),
        lambda x, y: groups(x + y[:, None, None]),
        pictures + 30,
        torch.randn(48),
    )
    compare("add_bias", lambda x, y: kernels.add_bias(x, bias, y), lambda x, y: x + bias[:, None, None] + y, odd, odd)


def load() -> tuple[Any, Any, Any]:
    """The offline profile's UNet, ControlNet and VAE."""
    folders = ((UNet2DConditionModel, "unet"), (ControlNetModel, "controlnet"), (AutoencoderKL, "vae"))
    unet, controlnet, vae = (cls.from_pretrained(WEIGHTS / name).eval() for cls, name in folders)
    return unet, controlnet, vae


def paint(unet: Any, controlnet: Any, vae: Any) -> dict[str, Tensor]:
    """One step of each, from the same inputs every time."""
    generator = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    config = unet.config
    width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    latents, words = noise(2, 4, HEIGHT, WIDTH), noise(2, 77, config.cross_attention_dim)
    added = {"text_embeds": noise(2, width), "time_ids": noise(2, 6)}
    lines, picture = noise(2, 3, 8 * HEIGHT, 8 * WIDTH), noise(1, 3, 8 * HEIGHT, 8 * WIDTH)
    with torch.inference_mode():
        blocks, middle = controlnet(latents, 500, words, lines, added_cond_kwargs=added, return_dict=False)
        inputs = attention.Inputs()
        inputs.text, inputs.added = words[:1], {name: value[:1] for name, value in added.items()}
        schedule = SimpleNamespace(alphas_cumprod=torch.linspace(0.999, 0.001, 1000))
        attended = attention.attention_maps(unet, schedule, latents[:1], noise(*latents[:1].shape), inputs, [[1, 2]])
        more = {"down_block_additional_residuals": blocks, "mid_block_additional_residual": middle}
        return {
            "attention": torch.stack([each for each in attended if each is not None]),
            "controlnet": middle,
            "unet": unet(latents, 500, words, added_cond_kwargs=added, **more).sample,
            "vae, decoding": vae.decode(latents[:1]).sample,
            "vae, encoding": vae.encode(picture).latent_dist.mean,
        }


def compare_models() -> None:
    models = load()
    before = paint(*models)
    working, differentiable.geglu = differentiable.geglu, broken
    for model in models:
        try:
            fused.fuse(model)
        except ZeroDivisionError:
            continue
        raise AssertionError("a kernel that fails was not noticed")
    differentiable.geglu = working
    again = paint(*models)
    FOUND["after a kernel that fails"] = sum(bool((again[name] != before[name]).any()) for name in before)
    blocks = sum(
        isinstance(module, ResnetBlock2D | Transformer2DModel) for model in models for module in model.modules()
    )
    FOUND["blocks that were left"] = blocks - sum(fused.fuse(model) for model in models)
    after = paint(*models)
    FOUND.update({name: apart(after[name], before[name]) for name in before})


def broken(*_: Any, **__: Any) -> Tensor:
    raise ZeroDivisionError("no such shape")


def compare_lora(name: str, targets: list[str], dropout: float, changed: Callable[[Any], Any]) -> None:
    """Outputs and gradients of a UNet with a LoRA, before and after `changed`."""
    unet = load()[0]
    unet.requires_grad_(False)
    torch.manual_seed(0)
    unet.add_adapter(
        LoraConfig(r=8, lora_alpha=3, target_modules=targets, lora_dropout=dropout, init_lora_weights=False)
    )
    unet.train()
    learning = [weight for weight in unet.parameters() if weight.requires_grad]

    def learn() -> tuple[Tensor, Tensor]:
        torch.manual_seed(1)
        width = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
        added = {"text_embeds": torch.randn(2, width), "time_ids": torch.randn(2, 6)}
        words = torch.randn(2, 77, unet.config.cross_attention_dim)
        out = unet(torch.randn(2, 4, HEIGHT, WIDTH), 500, words, added_cond_kwargs=added).sample
        gradients = torch.autograd.grad(out.square().mean(), learning)
        return out, torch.cat([gradient.flatten() for gradient in gradients])

    before = learn()
    FOUND[f"{name} layers"] = changed(unet)
    after = learn()
    FOUND[name], FOUND[f"gradient of {name}"] = (apart(*pair) for pair in zip(after, before, strict=True))


class _Warnings(logging.Handler):
    """Keeps what is warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.told.append(record.getMessage())


def compare_failures() -> None:
    """A kernel that fails in the middle of a painting: the UNet's, the VAE's; and what is no kernel's failure."""
    warnings, request = _Warnings(), tiny_models.request(prompt="a yurt", steps=1, guidance=1.0)
    logging.getLogger("models.diffusion").addHandler(warnings)
    setup = tiny_models.setup(with_controlnet=False).model_copy(update={"profile": STEPPE})
    models = loading.load(setup)
    (plain,) = painter.paint(models, [request])
    names = {"unet": "geglu", "vae": "group_norm"}
    for part, kernel in names.items():
        working = getattr(differentiable, kernel)
        fused.fuse(getattr(models.plain, part))
        setattr(differentiable, kernel, broken)
        (again,) = painter.paint(models, [request])
        FOUND[f"painted again after the {part}'s kernel failed"] = float(again.image.tobytes() == plain.image.tobytes())
        painter.paint(models, [request])
        FOUND[f"warnings of the {part}'s kernel"] = len(warnings.told)
        FOUND[f"blocks of the {part} still on kernels"] = fused.unfuse(getattr(models.plain, part))
        setattr(differentiable, kernel, working)
        warnings.told.clear()
        models.failures.clear()
    compare_other_failures(models, request, warnings)


def compare_other_failures(models: loading.Models, request: PaintRequest, warnings: _Warnings) -> None:
    """Memory that runs out, and a caller that stops the painting, leave the kernels where they are."""
    vae = models.plain.vae
    blocks = fused.fuse(vae)

    def stop(_: float) -> None:
        raise LookupError

    def exhaust(*_: Any, **__: Any) -> Tensor:
        raise torch.OutOfMemoryError

    working, differentiable.group_norm = differentiable.group_norm, exhaust
    kept = []
    for wrong, report in ((OutOfMemory, None), (LookupError, stop)):
        try:
            painter.paint(models, [request], report)
        except wrong:
            kept.append(len(models.failures) + len(warnings.told))
        differentiable.group_norm = working
    FOUND["failures that are no kernel's"] = float(kept == [0, 0] and fused.unfuse(vae) == blocks)


if __name__ == "__main__":
    torch.manual_seed(0)
    compare_kernels()
    compare_models()
    compare_lora("lora", ["to_q", "to_v"], 0.1, merge_sums)
    compare_lora("lora on convolutions", ["to_q", "conv1", "conv2", "ff.net.2"], 0.0, fused.fuse)
    compare_failures()
    print(json.dumps(FOUND))
