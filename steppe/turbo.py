"""The turbo LoRA: the base paints with it in 5 steps without guidance what it paints in 20 with it.

Progressive distillation onto a fixed grid (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512) of a guided model
(Meng et al. 2023, https://arxiv.org/abs/2210.03142). The student is the frozen base with a LoRA on its UNet. One of
its steps learns to reach the point that the base reaches in `SUB_STEPS` guided steps. Both grids are Euler's at
trailing spacing, so that each step of the student starts and ends at a step of the base's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.diffusion.painter import accept_old_array_protocol
from models.profiles import STEPPE
from steppe.dataset import is_plain
from steppe.loops import Keeping, fit, random_rows
from steppe.material import (
    Batches,
    Setup,
    each_shape,
    load_latents,
    load_sizes,
    load_tokenizer,
    load_tokens,
    on_device,
    one_wording,
)
from steppe.objectives import TextEncoders
from steppe.saved import load_text_encoders, load_unet
from steppe.tokenizer import encode

N_STEPS = 5
"""Steps of the student, those of `models.turbo.turbo_in`."""
SUB_STEPS = 4
"""Steps of the teacher for each of them."""
OWN_SHARE = 0.5
"""Share of a batch that starts where the student itself gets to from noise, so that its errors do not add up."""
RANK = 16
"""2.3 MB in fp16; rank 32 would take 4.6 MB."""
CHANGED = (
    *("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"),
    *("proj_in", "proj_out", "conv1", "conv2"),
)
"""Layers of the UNet that the LoRA changes, by the ends of their names."""
PRODUCT = "turbo/pytorch_lora_weights.safetensors"


class TurboLoss(nn.Module):
    """The student's loss: squared error of the picture that one of its steps implies, weighted by max(SNR, 1).

    The target is the picture that makes one Euler step land where the teacher lands.
    """

    sigmas: Tensor
    timesteps: Tensor
    empty: Tensor

    def __init__(
        self, student: Any, teacher: Any, texts: TextEncoders, scheduler: Any, empty: Tensor, guidance: float
    ) -> None:
        """Keep the models and the teacher's grid.

        Args:
            student: the UNet with the LoRA.
            teacher: the frozen UNet.
            texts: the frozen text encoders.
            scheduler: the base's `EulerDiscreteScheduler`.
            empty: tokens [1, 77] of the empty caption, which the product uses where no negative prompt is given.
            guidance: of the teacher.
        """
        super().__init__()
        self.student, self.teacher, self.texts, self.guidance = student, teacher, texts, guidance
        accept_old_array_protocol()
        scheduler.set_timesteps(N_STEPS * SUB_STEPS)
        self.register_buffer("sigmas", scheduler.sigmas.float(), persistent=False)
        self.register_buffer("timesteps", scheduler.timesteps.float(), persistent=False)
        self.register_buffer("empty", empty, persistent=False)

    def forward(self, latents: Tensor, tokens: Tensor, sizes: Tensor) -> Tensor:
        """Return the scalar loss of scaled latents [N, 4, H, W], tokens [N, 77] and sizes [N, 6]."""
        index = torch.randint(N_STEPS, (len(latents),), device=latents.device) * SUB_STEPS
        sigma, after = self.sigma(index), self.sigma(index + SUB_STEPS)
        with torch.no_grad():
            said, unsaid = self.conditions(tokens, sizes), self.conditions(self.empty.expand(len(tokens), -1), sizes)
            start = self.starts(latents, index, said)
            reached = self.taught(start, index, said, unsaid)
            target = start - sigma * (reached - start) / (after - sigma)
        implied = start - sigma * self.noise(self.student, start, index, said)
        errors = (implied - target).pow(2) * sigma.pow(-2).clamp(min=1)
        return errors.mean()

    def starts(self, latents: Tensor, index: Tensor, said: dict[str, Any]) -> Tensor:
        """Return noisy latents at each row's step: the student's own for OWN_SHARE of them, noised drawings' else."""
        noise = torch.randn_like(latents)
        own = round(OWN_SHARE * len(latents))
        noised = latents + self.sigma(index) * noise
        path = self.own_path(noise[:own], {name: value[:own] for name, value in said.items()})
        return torch.cat([path[index[:own] // SUB_STEPS, torch.arange(own, device=index.device)], noised[own:]])

    def own_path(self, noise: Tensor, said: dict[str, Any]) -> Tensor:
        """Return the latents [N_STEPS, N, 4, H, W] before each of the student's steps from noise."""
        index = torch.zeros(len(noise), dtype=torch.long, device=noise.device)
        path = [noise * self.sigma(index)]  # Euler's init_noise_sigma at trailing spacing is its first sigma
        for _ in range(N_STEPS - 1):
            predicted = self.noise(self.student, path[-1], index, said)
            path.append(path[-1] + (self.sigma(index + SUB_STEPS) - self.sigma(index)) * predicted)
            index = index + SUB_STEPS
        return torch.stack(path)

    def taught(self, latents: Tensor, index: Tensor, said: dict[str, Any], unsaid: dict[str, Any]) -> Tensor:
        """Return where the teacher gets to from these latents in SUB_STEPS guided steps."""
        both = {name: torch.cat([unsaid[name], said[name]]) for name in said}
        for step in range(SUB_STEPS):
            at = index + step
            predicted = self.noise(self.teacher, torch.cat([latents, latents]), torch.cat([at, at]), both)
            without, with_caption = predicted.chunk(2)
            guided = without + self.guidance * (with_caption - without)
            latents = latents + (self.sigma(at + 1) - self.sigma(at)) * guided
        return latents

    def noise(self, unet: Any, latents: Tensor, index: Tensor, conditions: dict[str, Any]) -> Tensor:
        """Return the noise that a UNet finds in latents [N, 4, H, W] at steps [N] of the teacher's grid."""
        scaled = latents / (self.sigma(index).pow(2) + 1).sqrt()
        hidden, pooled, sizes = (conditions[name] for name in ("hidden", "pooled", "sizes"))
        added = {"text_embeds": pooled, "time_ids": sizes}
        timesteps = self.timesteps[index]
        return unet(scaled, timesteps, encoder_hidden_states=hidden, added_cond_kwargs=added).sample.float()  # type: ignore[no-any-return]

    def conditions(self, tokens: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Return what the UNet is told besides latents and timesteps, each with one row a picture."""
        hidden, pooled = self.texts(tokens)
        return {"hidden": hidden, "pooled": pooled, "sizes": sizes.float()}

    def sigma(self, index: Tensor) -> Tensor:
        """Return the noise levels [N, 1, 1, 1] at steps [N] of the teacher's grid; the last is 0."""
        return self.sigmas[index].view(-1, 1, 1, 1)


def add_lora(unet: Any) -> nn.ParameterList:
    """Put an untrained LoRA on a frozen UNet, and return its weights."""
    from peft import LoraConfig

    unet.requires_grad_(False)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(CHANGED)))
    return nn.ParameterList(weight for weight in unet.parameters() if weight.requires_grad)


def load_lora(unet: Any, folder: Path) -> None:
    """Put the weights that `save_lora` wrote into the UNet's LoRA.

    Raises:
        ValueError: the file has other layers.
    """
    from diffusers import StableDiffusionXLPipeline
    from peft import set_peft_model_state_dict

    weights, _ = StableDiffusionXLPipeline.lora_state_dict(folder)
    own = {name.removeprefix("unet."): value.float() for name, value in weights.items()}
    wanted = {name for name, _ in unet.named_parameters() if "lora_" in name}
    result = set_peft_model_state_dict(unet, own)
    if result.unexpected_keys or len(own) != len(wanted):
        raise ValueError(f"{folder}: {len(own)} tensors do not fit the {len(wanted)} of this LoRA")


def save_lora(unet: Any, folder: Path) -> None:
    """Write the LoRA of a UNet in fp16, as diffusers does."""
    from diffusers import StableDiffusionXLPipeline
    from peft import get_peft_model_state_dict

    weights = {name: value.half().cpu().contiguous() for name, value in get_peft_model_state_dict(unet).items()}
    told = {"r": RANK, "lora_alpha": RANK, "target_modules": list(CHANGED)}
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=weights, unet_lora_adapter_metadata=told)


def run_turbo(setup: Setup) -> int:
    """Train the turbo LoRA with the base frozen, on whole scenes: the product paints nothing else."""
    from diffusers import EulerDiscreteScheduler

    recipe, student, teacher = setup.recipe("turbo"), load_unet(setup.out), load_unet(setup.out)
    learners = add_lora(student.to(setup.device))
    if setup.further:
        load_lora(student, (setup.out / PRODUCT).parent)
    empty = encode(load_tokenizer(setup), [""])
    objective = TurboLoss(
        student,
        teacher.requires_grad_(False),
        load_text_encoders(setup.out).requires_grad_(False),
        EulerDiscreteScheduler.from_pretrained(setup.out / "scheduler"),
        empty,
        STEPPE.guidance,
    ).to(setup.device)

    def batches(shape: str) -> Batches:
        latents, tokens, sizes = load_latents(setup, shape), load_tokens(setup, shape), load_sizes(setup, shape)
        plain = on_device(setup.device, is_plain(setup.drawings(shape).sizes).nonzero()[0])

        def batch() -> tuple[Tensor, ...]:
            rows = plain[random_rows(len(plain), recipe.batch, setup.device)]
            return latents(rows), one_wording(tokens, rows), sizes[rows]

        return batch

    steps = fit(objective, learners, each_shape(batches), recipe, Keeping(name="turbo", folder=setup.work))
    save_lora(student, (setup.out / PRODUCT).parent)
    return steps
