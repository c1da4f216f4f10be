"""The distillation of steppe: both grids are the product's own, the loss falls, and the product reads the LoRA."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.diffusion.adapter_fit import judge
from models.diffusion.loading import Models, load, unload
from models.diffusion.painter import starting_noise
from models.diffusion.requests import PainterSetup
from models.profiles import ROOT, STEPPE
from models.sizes import Size
from models.storage.adapters import locate_adapter
from steppe.saved import load_text_encoders, load_unet
from steppe.tokenizer import encode
from steppe.turbo import N_STEPS, RANK, SUB_STEPS, TurboLoss, add_lora, load_lora, save_lora

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' Euler
WEIGHTS = ROOT / "weights" / "steppe"
PROMPT = "a khan is riding a horse in the steppe, at night, wide shot, storybook illustration"
SIZES = torch.tensor([[256, 256, 0, 0, 256, 256]])


@pytest.fixture(scope="module")
def steppe() -> Iterator[Models]:
    setup = PainterSetup(
        profile=STEPPE, adapter=None, device="cpu", precision="fp32", with_controlnet=False, batch_size=1
    )
    yield load(setup)
    unload()


@pytest.fixture(scope="module")
def loss(steppe: Models) -> TurboLoss:
    student, teacher = load_unet(WEIGHTS), load_unet(WEIGHTS).requires_grad_(False)
    add_lora(student)
    texts = load_text_encoders(WEIGHTS).requires_grad_(False)
    empty = encode(steppe.plain.tokenizer, [""])
    return TurboLoss(student, teacher, texts, steppe.scheduler("Euler"), empty, STEPPE.guidance)


def by_the_pipeline(models: Models, steps: int, guidance: float) -> Tensor:
    models.plain.scheduler = models.scheduler("Euler")
    with torch.no_grad():
        latents: Tensor = models.plain(
            prompt=[PROMPT],
            width=256,
            height=256,
            latents=starting_noise(7, Size.square(256)),
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="latent",
        ).images
    return latents


def conditions(loss: TurboLoss, models: Models) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    tokens = encode(models.plain.tokenizer, [PROMPT])
    with torch.no_grad():
        return loss.conditions(tokens, SIZES), loss.conditions(loss.empty, SIZES)


def test_the_teacher_paints_as_the_product_does(steppe: Models, loss: TurboLoss) -> None:
    said, unsaid = conditions(loss, steppe)
    index = torch.zeros(1, dtype=torch.long)
    latents = starting_noise(7, Size.square(256)) * loss.sigma(index)
    with torch.no_grad():
        for step in range(N_STEPS):
            latents = loss.taught(latents, index + step * SUB_STEPS, said, unsaid)
    expected = by_the_pipeline(steppe, N_STEPS * SUB_STEPS, STEPPE.guidance)
    torch.testing.assert_close(latents, expected, atol=2e-3, rtol=1e-3)


def test_the_student_paints_as_the_product_does_without_guidance(steppe: Models, loss: TurboLoss) -> None:
    said, _ = conditions(loss, steppe)
    with torch.no_grad():
        path = loss.own_path(starting_noise(7, Size.square(256)), said)
        last = torch.tensor([(N_STEPS - 1) * SUB_STEPS])
        noise = loss.noise(loss.student, path[-1], last, said)
    ended = path[-1] - loss.sigma(last) * noise  # an untrained LoRA changes nothing, so this is the base
    torch.testing.assert_close(ended, by_the_pipeline(steppe, N_STEPS, 1.0), atol=2e-3, rtol=1e-3)


def test_a_step_of_the_target_lands_where_the_teacher_lands(
    steppe: Models, loss: TurboLoss, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student that predicts the mean noise of the teacher's sub-steps has no error; any other has one."""
    seen: dict[str, Any] = {}
    real = TurboLoss.noise

    def noise(self: TurboLoss, unet: Any, latents: Tensor, index: Tensor, said: dict[str, Any]) -> Tensor:
        if unet is self.student and torch.is_grad_enabled():
            start, sub = latents, loss.conditions(loss.empty.expand(len(latents), -1), SIZES.expand(len(latents), -1))
            with torch.no_grad():
                reached = self.taught(start, index, said, sub)
            seen["error"] = (reached - start) / (self.sigma(index + SUB_STEPS) - self.sigma(index))
            return seen["error"] + float(seen.get("shift", 0))  # type: ignore[no-any-return]
        return real(self, unet, latents, index, said)

    monkeypatch.setattr(TurboLoss, "noise", noise)
    latents, tokens = torch.randn(4, 4, 8, 8), encode(steppe.plain.tokenizer, [PROMPT] * 4)
    assert loss(latents, tokens, SIZES.expand(4, -1)).item() == pytest.approx(0.0, abs=1e-6)
    seen["shift"] = 0.1
    assert loss(latents, tokens, SIZES.expand(4, -1)).item() > 0.005


def test_training_lowers_the_loss_and_changes_the_lora_alone(steppe: Models, tmp_path: Path) -> None:
    torch.manual_seed(1)
    student, teacher = load_unet(WEIGHTS), load_unet(WEIGHTS).requires_grad_(False)
    weights = list(add_lora(student))
    before = {name: value.clone() for name, value in student.named_parameters() if not value.requires_grad}
    texts, empty = load_text_encoders(WEIGHTS).requires_grad_(False), encode(steppe.plain.tokenizer, [""])
    objective = TurboLoss(student, teacher, texts, steppe.scheduler("Euler"), empty, STEPPE.guidance)
    latents, tokens = torch.randn(4, 4, 8, 8), encode(steppe.plain.tokenizer, [PROMPT] * 4)
    optimizer, losses = torch.optim.AdamW(weights, lr=3e-3), []
    for _ in range(12):
        torch.manual_seed(2)  # the same noise and steps, so that the losses are comparable
        value = objective(latents, tokens, SIZES.expand(4, -1))
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(value.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in student.named_parameters() if name in before)
    save_lora(student, tmp_path / "turbo")
    found = locate_adapter(tmp_path / "turbo")
    judge(found, STEPPE.base)
    assert found.stat().st_size <= 2.5e6
    assert RANK == 16


def test_a_lora_is_taken_up_again_and_one_of_other_layers_refused(tmp_path: Path) -> None:
    student, again = load_unet(WEIGHTS), load_unet(WEIGHTS)
    learnt = add_lora(student)
    for number, weight in enumerate(learnt):
        weight.data.normal_(generator=torch.Generator().manual_seed(number))
    save_lora(student, tmp_path / "turbo")
    taken_up = add_lora(again)
    load_lora(again, tmp_path / "turbo")
    assert all(torch.equal(old.half(), new.half()) for old, new in zip(learnt, taken_up, strict=True))
    file = tmp_path / "turbo" / "pytorch_lora_weights.safetensors"
    weights = load_file(file)
    save_file({name: value for name, value in weights.items() if "conv1" not in name}, file)
    with pytest.raises(ValueError, match=r"turbo: \d+ tensors do not fit the \d+ of this LoRA"):
        load_lora(again, tmp_path / "turbo")
